"""Where the kit is published: what the pasted line fetches on a rented box. No address stands in the code.

The settings ``source`` and ``script_url`` say it, else the checkout that this code lies in (its remote and
the tag or commit of HEAD), else what ``make release`` wrote into the wheel. docs/publishing.md says how a kit
is published.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from bootstrap.errors import KitError
from bootstrap.publication import checkout, forge, release
from bootstrap.publication.checkout import SCRIPT, SET_THEM, Checkout
from bootstrap.publication.release import Release

PUBLISH = "docs/publishing.md says how to publish the kit"


@dataclass(frozen=True)
class Publication:
    """The addresses of one version of the kit."""

    source: str | None  # what KINOKIT_SOURCE says on the box; None: its image holds the kit
    script_url: str | None  # None: the image starts the kit itself
    script_sha256: str | None = None  # None: nobody knows it
    notes: tuple[str, ...] = ()  # what a person should know before the line is used


def find(source: str | None, script_url: str | None, *, root: Path = checkout.ROOT) -> Publication:
    """What the settings say, completed by the checkout or the release at ``root``.

    ``script_url`` is empty where the box's image starts the kit itself. KitError when nothing says where the
    kit is published, or when an address holds credentials: whoever lets the machine would read them.
    """
    for name, value in (("source", source), ("script_url", script_url)):
        if value and re.search(r"//[^/@]*@", value):
            raise KitError(
                f"{name} holds credentials, which the owner of the rented machine could read",
                fix="publish the kit where it can be read without signing in, and give that address",
            )
    if script_url == "":
        return Publication(source=None, script_url=None)
    if source and script_url:
        return Publication(source, script_url)
    return _beside(source, root) if source else _derived(root, script_url)


def _beside(source: str, root: Path) -> Publication:
    """A source alone names the script, too, where it lies beside it."""
    if source.rpartition("/")[2] == release.FILE_NAME:
        return _of_release(release.read(source), source)
    url, _, ref = source.removeprefix("git+").partition(".git@")
    repository = forge.repository(url) if ref else None
    script_url = repository.raw(SCRIPT, ref) if repository else None
    if script_url:
        return Publication(source, script_url)
    wheel = re.fullmatch(r"(https?://.+)/[^/]+\.whl(#.*)?", source)
    if wheel:
        return Publication(source, f"{wheel[1]}/start.sh")
    try:
        found = _derived(root)
    except KitError as error:
        raise KitError(
            f"the source is known, but not where its start script is read ({error.problem})",
            fix="give --script-url (or set KINOKIT_SCRIPT_URL) to the address of its scripts/start.sh",
        ) from error
    return Publication(source, found.script_url, found.script_sha256, found.notes)


def _derived(root: Path, script_url: str | None = None) -> Publication:
    """From the checkout, else from the wheel; a ``script_url`` that was given stays."""
    here = checkout.read(root)
    if here is not None:
        return _of_checkout(here, script_url)
    released = release.in_wheel(root / "bootstrap/publication" / release.FILE_NAME)
    if released is not None:
        found = _of_release(released, "the wheel")
        return Publication(found.source, script_url) if script_url else found
    raise KitError(
        "nothing says where this kit is published: it lies in no git checkout, and no release wrote it down",
        fix=f"{SET_THEM}; {PUBLISH}",
    )


def _of_release(found: Release, place: str) -> Publication:
    if found.url is None:
        raise KitError(
            f"{place} does not say where the release was uploaded to",
            fix="build it with `make release RELEASE_URL=https://…`, or give its address on the net",
        )
    base = found.url.rstrip("/")
    digest = f"#sha256={found.wheel.sha256}" if found.wheel.sha256 else ""
    return Publication(
        f"{base}/{found.wheel.file}{digest}", f"{base}/{found.script.file}", found.script.sha256
    )


def _of_checkout(here: Checkout, given: str | None) -> Publication:
    if here.repository is None:
        raise KitError(
            "this checkout has no public address: its git remote is missing or leads to this machine alone",
            fix=f"push it to a forge and `git remote add origin ADDRESS`, or {SET_THEM}; {PUBLISH}",
        )
    if not here.is_pushed and here.tag is None:
        raise KitError(
            f"commit {here.commit[:12]} is not on {here.repository.clone_url}, so no box could fetch it",
            fix="git push (git fetch, if it was pushed from elsewhere), or check out a tag that is published",
        )
    script_url = given or here.repository.raw(SCRIPT, here.ref)
    if script_url is None:
        raise KitError(
            f"{here.repository.base} is no forge that the kit knows ({forge.KNOWN}), so it is not known where"
            f" one file of {here.repository.path} is read",
            fix=f"give --script-url (or set KINOKIT_SCRIPT_URL) to the address of its {SCRIPT} at {here.ref}",
        )
    source = f"{here.repository.clone_url}@{here.ref}"
    return Publication(source, script_url, None if given else here.script_sha256, _doubts(here))


def _doubts(here: Checkout) -> tuple[str, ...]:
    doubts = []
    if here.changed_files:
        doubts.append(
            f"a box gets {here.ref} as it was committed, without your changes to"
            f" {here.changed_files} file{'s' if here.changed_files > 1 else ''}."
        )
    if not here.is_pushed:
        doubts.append(f"the line needs the tag {here.tag} on the remote: git push origin {here.tag}.")
    return tuple(doubts)
