"""A photo that a request names by its address: fetched through the door to public hosts, within limits.

An address may hold secrets in its path and query: errors and logs name its host alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.parameters import RequestError, images

if TYPE_CHECKING:
    import httpx

OFF, HTTPS, HTTP = "off", "https", "http"  # else names of hosts, by https
MOST_REDIRECTS = 3
REDIRECTS = (301, 302, 303, 307, 308)
TOTAL_SECONDS = 30.0
FIX = "send the image itself: a file in a form, a data URL or base64"


@dataclass(frozen=True)
class Address:
    """Where an image lies, and the field of the request that says so."""

    url: str
    field: str = images.PARAM


@dataclass(frozen=True)
class Allowed:
    """What may be fetched. ``from_hosts``: as the setting ``remote_images`` has it."""

    from_hosts: tuple[str, ...] = (HTTPS,)
    private_hosts: tuple[str, ...] = ()
    max_bytes: int = images.MAX_BYTES
    total_seconds: float = TOTAL_SECONDS


async def fetch(address: Address, allowed: Allowed) -> bytes:
    """The bytes that lie there. No cookies, no login, no proxy. Raises ``RequestError``."""
    import httpx  # only where it is asked for

    from services.front.public_hosts import NotPublic, PublicOnly

    host, param = "the address", address.field
    try:
        url = _checked(httpx.URL(address.url), allowed, param)
        host = url.host
        door = PublicOnly(allowed.private_hosts)
        async with (
            asyncio.timeout(allowed.total_seconds),
            httpx.AsyncClient(transport=door, trust_env=False) as client,
        ):
            return await _followed(client, url, allowed, param)
    except (httpx.InvalidURL, UnicodeError):
        raise _refused("the address is none", param) from None
    except NotPublic as error:
        raise _refused(str(error), param) from None
    except TimeoutError:
        raise _refused(f"{host} took more than {allowed.total_seconds:g} s", param) from None
    except (httpx.HTTPError, OSError) as error:
        raise _refused(f"{host} does not answer ({type(error).__name__})", param) from None


async def _followed(client: httpx.AsyncClient, url: httpx.URL, allowed: Allowed, param: str) -> bytes:
    headers = {"Accept": "image/*", "Accept-Encoding": "identity", "User-Agent": "kinokit"}
    for _ in range(MOST_REDIRECTS + 1):
        client.cookies.clear()
        async with client.stream("GET", url, headers=headers, follow_redirects=False) as answer:
            if answer.status_code in REDIRECTS and "location" in answer.headers:
                url = _checked(url.join(answer.headers["location"]), allowed, param)
                continue
            _check_answer(answer, url.host, param)
            return await _read(answer, allowed.max_bytes)
    raise _refused(f"it leads on more than {MOST_REDIRECTS} times", param)


def _checked(url: httpx.URL, allowed: Allowed, param: str) -> httpx.URL:
    """Each redirect again: another scheme or host may not be allowed."""
    names: Collection[str] = [name.lower() for name in allowed.from_hosts]
    if OFF in names:
        raise _refused("addresses are not fetched here (remote_images is off)", param)
    schemes = ("https", "http") if HTTP in names else ("https",)
    if url.scheme not in schemes or not url.host:
        raise _refused("only https addresses are fetched", param)
    if url.userinfo:
        raise _refused("the address holds a name or a password", param)
    if not {HTTPS, HTTP} & set(names) and url.host.rstrip(".").lower() not in names:
        raise _refused(f"{url.host} is none of the hosts that remote_images allows", param)
    return url


def _check_answer(answer: httpx.Response, host: str, param: str) -> None:
    if answer.status_code != 200:
        raise _refused(f"{host} answered {answer.status_code}", param)
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if (
        kind
        and not kind.startswith("image/")
        and kind not in ("application/octet-stream", "binary/octet-stream")
    ):
        raise _refused(f"{host} sends {kind[:60]!r}, which is no image", param)
    if answer.headers.get("content-encoding", "identity").lower() != "identity":
        raise _refused(f"{host} sends it packed, which nobody asked for", param)


async def _read(answer: httpx.Response, max_bytes: int) -> bytes:
    declared = answer.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > max_bytes:
        raise images.too_large(max_bytes)
    body = bytearray()
    async for block in answer.aiter_raw():
        body += block
        if len(body) > max_bytes:
            raise images.too_large(max_bytes)
    return bytes(body)


def _refused(why: str, param: str) -> RequestError:
    return RequestError(f"the image cannot be fetched: {why}", fix=FIX, param=param, code="image_unreachable")
