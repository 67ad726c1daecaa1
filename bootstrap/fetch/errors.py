"""What went wrong, as a sentence for the user or as a reason to try again."""

from __future__ import annotations

import email.utils
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bootstrap.choose.manifest import Licence, Source
from bootstrap.errors import KitError
from bootstrap.fetch.http.connection import Connection
from bootstrap.fetch.http.head import Head
from bootstrap.fetch.http.origin import Origin
from bootstrap.fetch.http.proxy_failed import ProxyFailed

LONGEST_WAIT_SECONDS = 600.0  # a server that asks for more ends the fetch with an error instead


@dataclass
class TryAgain(Exception):
    """This attempt failed and another may succeed. ``why`` never holds a query: it may be a signature."""

    why: str
    wait_seconds: float | None = None  # what the server asked for; ours when it did not
    url_is_old: bool = False  # a signed address that must be requested again
    slow_down: bool = False  # the server has too much to do
    is_nonsense: bool = False  # an answer that a second attempt will hardly change


class GateClosed(KitError):
    """A server wants a token, or another one: the hub where ``host`` is None.

    ``page`` is where its licence is accepted, or a key is made.
    """

    def __init__(self, problem: str, *, fix: str, page: str, host: str | None = None) -> None:
        super().__init__(problem, fix=fix)
        self.page = page
        self.host = host


class MirrorError(KitError):
    """A mirror cannot give a file; another mirror may."""


class KeyMissing(GateClosed, MirrorError):
    """A model site wants its own key."""


def of_network(error: OSError, connection: Connection) -> TryAgain | KitError:
    """A failed connection: an error only where waiting cannot help. The proxy is named where there is one."""
    if isinstance(error, ProxyFailed):
        return KitError(error.problem, fix=error.fix) if error.fix else TryAgain(error.problem)
    origin, proxy = connection.origin, connection.proxy
    failure = _of_network(error, origin)
    if proxy is not None and isinstance(failure, TryAgain):
        return TryAgain(f"{failure.why}, through {proxy}")
    return failure


def _of_network(error: OSError, origin: Origin) -> TryAgain | KitError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return KitError(
            f"the certificate of {origin} is not trusted: {error.verify_message}",
            fix="check the clock and the ca-certificates of this box; behind a proxy that inspects TLS, set"
            " SSL_CERT_FILE to its certificate (beside it the system's are trusted as before)",
        )
    if isinstance(error, socket.gaierror):
        return TryAgain(f"the name {origin.host} cannot be resolved")
    if isinstance(error, ConnectionRefusedError):
        return TryAgain(f"{origin} refuses connections")
    if isinstance(error, ssl.SSLError):
        return TryAgain(f"TLS with {origin} failed: {error.reason or error}")
    if isinstance(error, TimeoutError):
        return TryAgain(f"{origin} does not answer")
    return TryAgain(f"the connection to {origin} broke: {error.strerror or error}")


def unreachable(why: str, seconds: float) -> KitError:
    """Nothing came for so long that more waiting would only cost money."""
    return KitError(
        f"no progress for {seconds:.0f} s: {why}",
        fix="check the network of this box (DNS, firewall, proxy, HF_ENDPOINT) or name a mirror; what has"
        " arrived is kept, and the next start goes on from it",
    )


def of_status(
    head: Head, origin: Origin, what: str, *, takes_key: bool = False, clock: float | None = None
) -> TryAgain | MirrorError:
    """A refusal that any server may give. ``takes_key``: it is a site's own, which a key may open."""
    status = head.status
    if status in (408, 425, 429) or status >= 500:
        wait = retry_after(head, time.time() if clock is None else clock)
        if wait is not None and wait > LONGEST_WAIT_SECONDS:
            return MirrorError(
                f"{origin} asks to wait {wait:.0f} s before the next request (status {status})",
                fix="start again later, or set HF_TOKEN: known users have a higher limit",
            )
        return TryAgain(f"{origin} answers {status}", wait_seconds=wait, slow_down=status in (429, 503))
    if status == 404:
        return MirrorError(
            f"{origin} does not have {what} (status 404)", fix="check the manifest's source and path"
        )
    if status == 416:
        return MirrorError(
            f"{what} on {origin} is shorter than the manifest says (status 416)",
            fix="the file was changed or is cut there: check the manifest's bytes and revision",
        )
    if status == 401 and takes_key:
        return key_missing(origin, f"{origin} refuses {what} (status 401)")
    if status in (401, 403):
        return MirrorError(
            f"{origin} refuses {what} (status {status})",
            fix=f"check that this address may be read without signing in; {_own_key(origin)}",
        )
    return MirrorError(f"{origin} answers {status} for {what}", fix="check the source in the manifest")


def signs_in(origin: Origin) -> MirrorError:
    """A page for people in place of the file."""
    return key_missing(origin, f"{origin} redirects to a page to sign in")


def key_missing(origin: Origin, problem: str) -> KeyMissing:
    """The site's own key would open it."""
    page = "https://civitai.com/user/account" if origin.host == "civitai.com" else origin.address
    return KeyMissing(problem, fix=_own_key(origin), page=page, host=str(origin))


def _own_key(origin: Origin) -> str:
    if origin.host == "civitai.com":
        return "make a key in the settings of your account there, and set CIVITAI_TOKEN to it"
    return f"where {origin} asks for a key, set KINOKIT_MIRROR_TOKENS to {origin}=KEY"


def circles(hosts: Sequence[str], path: str, *, fix: str) -> MirrorError:
    """Each answer points to a next one; ``hosts`` are those that were asked."""
    route = " -> ".join(hosts)
    return MirrorError(f"{path} is redirected {len(hosts)} times without an end: {route}", fix=fix)


def retry_after(head: Head, now: float) -> float | None:
    """Seconds that the server wants us to wait, from either form of the header."""
    text = head.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, TypeError):
        return None


def of_hub(
    head: Head, origin: Origin, source: Source, path: str, licence: Licence, token: str | None
) -> KitError | TryAgain:
    """A refusal of the hub, whose headers hold more than the status."""
    code = head.headers.get("x-error-code", "")
    repo = source.repo or "?"
    page = licence.accept_url or f"{origin.scheme}://{origin}/{repo}"
    if code == "GatedRepo" or (head.status in (401, 403) and licence.gated and code != "RepoNotFound"):
        return _gated(repo, page, token)
    if code == "RevisionNotFound":
        return KitError(
            f"{repo} has no revision {source.revision}", fix="correct the revision in the manifest"
        )
    if code == "EntryNotFound":
        return KitError(
            f"{repo} has no file {path} at revision {source.revision}", fix="correct the path in the manifest"
        )
    if code == "RepoNotFound" or head.status == 401:
        if token is None:
            return KitError(
                f"{origin} has no repository {repo}, or it is private",
                fix="correct the name in the manifest; for a private repository set HF_TOKEN",
            )
        return KitError(
            f"{origin} does not accept this HF_TOKEN, or has no repository {repo} for it",
            fix="make a new read token in your account's settings, and check the name in the manifest",
        )
    if head.status == 403:
        return KitError(
            f"the account of this HF_TOKEN may not read {repo} (status 403)"
            if token
            else f"{origin} refuses {repo} without a token (status 403)",
            fix=f"open {page} with that account, or use another token",
        )
    return of_status(head, origin, f"{repo}/{path}")


def _gated(repo: str, page: str, token: str | None) -> KitError:
    """The licence is not accepted by this account, or no account is known."""
    if token is None:
        return GateClosed(
            f"{repo} is gated: its licence must be accepted, and no HF_TOKEN is set",
            fix=f"accept the licence at {page}, make a read token there and set HF_TOKEN",
            page=page,
        )
    return GateClosed(
        f"{repo} is gated, and the account of this HF_TOKEN has no access",
        fix=f"accept the licence at {page} with the account of the token; a fine-grained token also needs"
        " the right to read gated repositories",
        page=page,
    )
