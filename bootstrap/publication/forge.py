"""Addresses of a repository: the remote as git has it, where it is cloned, where one file is read."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

KNOWN = "GitHub, GitLab, Codeberg, Gitea, Forgejo, Bitbucket and Gitee"
COMMIT = re.compile(r"[0-9a-f]{40}")
# Forges have names of their own for ssh through port 443.
SSH_HOSTS = {
    "ssh.github.com": "github.com",
    "altssh.gitlab.com": "gitlab.com",
    "altssh.bitbucket.org": "bitbucket.org",
}


@dataclass(frozen=True)
class Repository:
    """A repository that others reach by http. It never holds the credentials of the address it came from."""

    base: str  # "https://host", with a port where it has one
    path: str  # "owner/name"

    @property
    def clone_url(self) -> str:
        """What ``git clone`` takes on every forge."""
        return f"{self.base}/{self.path}.git"

    def raw(self, file: str, ref: str) -> str | None:
        """Where ``file`` is read as it is at a tag or commit; None for a forge that is not known."""
        host = urlsplit(self.base).hostname or ""
        page = f"{self.base}/{self.path}"
        if host == "github.com":
            return f"https://raw.githubusercontent.com/{self.path}/{ref}/{file}"
        if host in ("bitbucket.org", "gitee.com"):
            return f"{page}/raw/{ref}/{file}"
        if "gitlab" in host:
            return f"{page}/-/raw/{ref}/{file}"
        if host == "codeberg.org" or "gitea" in host or "forgejo" in host:
            kind = "commit" if COMMIT.fullmatch(ref) else "tag"
            return f"{page}/raw/{kind}/{ref}/{file}"
        return None

    def release_url(self, tag: str) -> str | None:
        """Where the forge serves the files of a release; None for a forge without such a place."""
        host = urlsplit(self.base).hostname or ""
        if "gitlab" in host:
            project = quote(self.path, safe="")
            return f"{self.base}/api/v4/projects/{project}/packages/generic/kinokit/{tag.removeprefix('v')}"
        if host in ("github.com", "codeberg.org") or "gitea" in host or "forgejo" in host:
            return f"{self.base}/{self.path}/releases/download/{tag}"
        return None


def repository(remote: str) -> Repository | None:
    """The repository behind an address of git; None when it is a folder or only this machine reaches it."""
    base, path = _split(remote.strip())
    path = path.strip("/").removesuffix(".git").rstrip("/")
    if not _is_public(urlsplit(base).hostname or "") or not re.fullmatch(r"[\w.~-]+(/[\w.~-]+)+", path):
        return None
    return Repository(base, path)


def _split(remote: str) -> tuple[str, str]:
    """The address for people and the path. What is reached by ssh is read by https, without ssh's port."""
    by_ssh = re.fullmatch(r"(?:[^@/:]+@)?([^@/:]{2,}):(?!//)(.+)", remote)
    if by_ssh:
        return f"https://{_named(by_ssh[1])}", by_ssh[2]
    try:
        parts = urlsplit(remote.removeprefix("git+"))
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "", ""
    if parts.scheme in ("http", "https"):
        return f"{parts.scheme}://{host}{f':{port}' if port else ''}", parts.path
    return (f"https://{_named(host)}", parts.path) if parts.scheme in ("ssh", "git") else ("", "")


def _named(ssh_host: str) -> str:
    return SSH_HOSTS.get(ssh_host.lower(), ssh_host.lower())


def _is_public(host: str) -> bool:
    """Whether another machine could find it: a name with a dot, or an address that is not loopback's."""
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return bool(re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", host)) and not host.endswith(".localhost")
