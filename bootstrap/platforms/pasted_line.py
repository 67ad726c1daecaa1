"""The line that is pasted: it shows a page, fetches the start script, and runs it.

One line of ASCII without quotes, ampersands and dollars, because marketplaces pass it through JSON, base64
and ``bash -c``. It needs what every Debian and Ubuntu has: a shell, perl, gzip, base64, sha256sum, apt.
"""

from __future__ import annotations

import base64
import gzip
import re
from pathlib import Path

from bootstrap.errors import KitError

# Vast's API documents 4048 characters for what runs on start; the others document no limit.
LONGEST_BYTES = 4000
PAGE = Path(__file__).with_name("first_page.pl")
# /dev/shm can be written to in a container whose own disk is read-only.
FOLDER = "mkdir -p /tmp/kinokit; cd /tmp/kinokit; test -w . || cd /dev/shm; rm -f page.pid failed"
CURL = "command -v curl || { apt-get update -qq; apt-get install -y -qq curl ca-certificates; } 2>> page.log"


def write(script_url: str, script_sha256: str | None, port: int) -> str:
    """The line. ``script_sha256``: nothing else is run; None when it is not known.

    The page stands at ``port``, or where the box's KINOKIT_PORT says, until the script is there: it shows
    what went wrong, and the fetching goes on. KitError for an address that needs quotes.
    """
    if not re.fullmatch(r"https?://[A-Za-z0-9._~:/?%=+-]+", script_url):
        raise KitError(
            f"the script's address {script_url!r} has characters that need quotes",
            fix="use an address of letters, digits and . _ ~ : / ? % = + -",
        )
    page = f"echo {_packed(PAGE)} | base64 -d | gzip -d > page.pl; perl page.pl {port} {script_url}"
    fetch = f"if curl -fsSL --retry 5 -o part.sh {script_url} 2>> page.log; then mv -f part.sh start.sh; fi"
    # A sign-in page is not run; a script that is there since an earlier start is.
    check = "grep -q ^#./bin/sh start.sh 2>> page.log"
    if script_sha256:
        check = f"sha256sum start.sh >> page.log 2>> page.log; grep -q ^{script_sha256} page.log"
    until = f"until true > page.log; {CURL}; {fetch}; {check}"
    again = "do touch failed; cat page.log; sleep 10; done"
    line = f"{FOLDER}; {page}; {until}; {again}; perl page.pl stop; exec sh start.sh"
    assert len(line) < LONGEST_BYTES
    return line


def _packed(program: Path) -> str:
    """The program without its comments, for ``base64 -d | gzip -d``."""
    lines = [line.strip() for line in program.read_text(encoding="ascii").splitlines() if line[:1] != "#"]
    return base64.b64encode(gzip.compress("\n".join(lines).encode(), mtime=0)).decode()
