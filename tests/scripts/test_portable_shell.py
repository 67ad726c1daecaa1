"""Scripts run where people first try the kit: with macOS's bash 3.2 and BSD tools, and in WSL2."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# They run in Debian's images, or install Debian's packages, alone.
OF_DEBIAN = ("images/base", "scripts/system-packages.sh")
# What BSD's tools, macOS or bash 3.2 do not have, and what has the same meaning everywhere.
ELSEWHERE = {
    r"\bnproc\b": "getconf _NPROCESSORS_ONLN",
    r"\breadlink -[a-z]*[fem]": "cd and pwd -P",
    r"\brealpath\b": "cd and pwd -P",
    r"\bsed -i\b|\bsed --|\bsed -[a-zA-Z]*r": "a new file; sed -E",
    r"\bdate (-d|--|-I)|\bdate [^|;]*%N": "date -u +FORMAT",
    r"\bstat -c|\bstat --": "wc -c, ls -l, test",
    r"\b(sha\d+sum|md5sum)\b": "cksum",
    r"\bxargs (-[a-z]*[rd]|--)": "a loop",
    r"\bgrep (-[a-zA-Z]*P|--)": "grep -E",
    r"(^|[|;&(] *)(timeout|flock|setsid|tac|shuf|numfmt|ionice)\s": "Python",
    r"\bmapfile\b|\breadarray\b|\bdeclare -[a-zA-Z]*[Agn]|\blocal -n|\bcoproc\b": "bash 3.2's arrays",
    r"\$\{\w+(,,?|\^\^?)\}|\$\{\w+@\w\}|\[\[ -v\b|\|&|&>>|\bwait -n\b": "tr, printf",
    r"\b(EPOCHSECONDS|EPOCHREALTIME|BASH_ARGV0)\b": "date -u +%s",
    r"\b(cp|ln|mv|mktemp|head|tail|sort|du|df|ls) --[a-z]|\bcp -[a-z]*[atu]\b": "their short options",
    r"\bbase64 -[wd]\b|\bhead -n -|\bhead -c -|\bsort -[a-zA-Z]*[hV]": "Python",
    r"\bmktemp -[a-z]*p\b|\becho -[en]": "mktemp NAME.XXXXXX; printf",
}


def scripts() -> list[str]:
    told = subprocess.run(
        ["git", "ls-files", "*.sh", "Makefile", ".ci/run"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [name for name in told.stdout.split() if not name.startswith(OF_DEBIAN)]


@pytest.mark.parametrize("name", scripts())
def test_a_script_uses_nothing_that_gnu_tools_or_a_new_bash_alone_have(name: str) -> None:
    text = (ROOT / name).read_text()
    text = re.sub(r"^(serve_with_\w+|page_html)\(\) \{.*?^\}", "", text, flags=re.DOTALL | re.MULTILINE)
    for number, line in enumerate(text.splitlines(), 1):
        code = re.sub(r"(^|\s)#.*", "", line)
        for pattern, instead in ELSEWHERE.items():
            assert not re.search(pattern, code), f"{name}:{number}: {line.strip()}\nuse {instead}"


def test_git_for_windows_leaves_the_line_ends_of_scripts() -> None:
    told = subprocess.run(
        ["git", "check-attr", "eol", "--", *scripts()], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert {line.rsplit(": ", 1)[1] for line in told.stdout.splitlines()} == {"lf"}


def test_the_check_finds_what_it_is_for() -> None:
    line = "expr $(nproc) + 2; readlink -f x; sed -i x f; grep -oP x; mapfile a; echo ${x,,}; timeout 5 make"
    found = [pattern for pattern in ELSEWHERE if re.search(pattern, line)]
    assert len(found) == 7


def tools(folder: Path, **programs: str) -> Path:
    """A folder for the front of the PATH, with ``programs`` as scripts."""
    folder.mkdir()
    for name, text in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return folder


MAC = 'if [ "$1" = -m ]; then echo {arch}; else echo Darwin; fi'


@pytest.mark.parametrize(
    ("uname", "version", "said"),
    [
        (MAC.format(arch="arm64"), "14.6.1", ""),
        (MAC.format(arch="arm64"), "13.7", "macOS 13.7 is too old for torch, which needs macOS 14"),
        (MAC.format(arch="x86_64"), "15.1", "torch has no builds for Macs with Intel processors"),
        ("echo MINGW64_NT-10.0-22631", "", "this is Windows itself"),
        ("echo Linux", "", ""),
    ],
)
def test_a_machine_without_a_torch_is_told_in_one_sentence_what_to_do(
    tmp_path: Path, uname: str, version: str, said: str
) -> None:
    path = tools(tmp_path / "bin", uname=uname, sw_vers=f"echo {version}")
    venv = tmp_path / "venv"
    done = subprocess.run(
        ["scripts/install.sh", "gpu"],
        cwd=ROOT,
        env={
            "PATH": f"{path}:/usr/bin:/bin",
            "VENV": str(venv),
            "PYTHON": "no-such-python",
            "HOME": str(tmp_path),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {said or 'no Python 3.11 or newer'}")
    assert done.stderr.count("error: ") == done.stderr.count("fix: ") == 1


def test_make_asks_no_program_that_macos_lacks_for_its_help(tmp_path: Path) -> None:
    path = tools(tmp_path / "bin", nproc="echo nproc >&2; exit 127")
    done = subprocess.run(
        ["make", "help"],
        cwd=ROOT,
        env={"PATH": f"{path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert "make up" in done.stdout
