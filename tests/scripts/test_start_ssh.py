"""The key of a renter opens port 22: sshd comes when PUBLIC_KEY is given, and the kit never waits for it."""

from __future__ import annotations

from pathlib import Path

from tests.scripts import start_script
from tests.support.waiting import wait_for

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHo ada@laptop"
RUNS = "#!/bin/sh\necho the kit runs\nexec sleep 600\n"


def box(home: Path, **programs: str) -> tuple[str, dict[str, str]]:
    """A PATH and the variables of a pod whose user is root, with ``programs`` as scripts of their own."""
    path = start_script.path_with(home, "perl")
    for name, text in {"id": "echo 0", "ssh-keygen": "exit 0", **programs}.items():
        file = home / "bin" / name
        file.unlink(missing_ok=True)
        file.write_text(f"#!/bin/sh\n{text}\n")
        file.chmod(0o755)
    env = {"PLATFORM": "runpod", "KINOKIT_DATA_DIR": str(home / "data"), "PUBLIC_KEY": KEY}
    return path, start_script.installed(home, RUNS) | env


def test_sshd_is_started_for_the_key_alone_and_without_passwords(tmp_path: Path) -> None:
    path, env = box(tmp_path, sshd=f"echo sshd $* > {tmp_path}/asked")
    for _ in ("the first start", "a restart"):
        with start_script.started(tmp_path, path, env) as started:
            wait_for(lambda started=started: "ssh answers at port 22" in started.logs)  # type: ignore[misc]
    asked = (tmp_path / "asked").read_text()
    for option in (
        "PasswordAuthentication=no",
        "KbdInteractiveAuthentication=no",
        "PermitRootLogin=prohibit-password",
    ):
        assert option in asked
    keys = tmp_path / ".ssh/authorized_keys"
    assert keys.read_text() == f"{KEY}\n"
    assert keys.stat().st_mode & 0o077 == 0


def test_the_kit_runs_where_sshd_does_not(tmp_path: Path) -> None:
    path, env = box(tmp_path, sshd="exit 1")
    with start_script.started(tmp_path, path, env) as started:
        wait_for(lambda: "no ssh: sshd does not start" in started.logs)
        wait_for(lambda: "the kit runs" in started.logs)
        assert started.state() == "starting"


def test_nobody_without_root_is_kept_waiting_for_sshd(tmp_path: Path) -> None:
    path, env = box(tmp_path, id="echo 1000")
    with start_script.started(tmp_path, path, env) as started:
        wait_for(lambda: "no ssh: sshd needs root" in started.logs)
        wait_for(lambda: "the kit runs" in started.logs)
