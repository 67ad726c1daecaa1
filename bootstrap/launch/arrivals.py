"""Which of a model's files are there and verified, written while the others are still on their way.

The boot writes ``arrivals.json``, and the process that loads the model reads it::

    {"files": {"/data/models/…/unet/model.safetensors":
               {"name": "unet/model.safetensors", "bytes": 950000000, "verified": true}},
     "failure": null}

``name`` is the file's path in the manifest, as the timeline calls its download. ``failure`` is a problem
and a fix: what is missing then does not come.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from bootstrap import files
from bootstrap.choose.manifest import File
from bootstrap.errors import KitError
from bootstrap.fetch.store import cannot_write


@dataclass(frozen=True)
class Coming:
    """One file of the model."""

    name: str
    bytes: int
    verified: bool = False


@dataclass(frozen=True)
class Arrivals:
    """How all of them stand, by the place where each lies once it is verified."""

    files: Mapping[Path, Coming]
    failure: KitError | None = None


def read(path: Path) -> Arrivals:
    """What the boot has written; whoever reads sees one whole state of it. OSError when there is none."""
    document = json.loads(path.read_bytes())
    failure = document["failure"]
    return Arrivals(
        files={Path(place): Coming(**each) for place, each in document["files"].items()},
        failure=KitError(failure["problem"], fix=failure["fix"]) if failure else None,
    )


class Record:
    """The boot's end of it: written anew at each change, which may come from any thread.

    As a context it notes the ``KitError`` that ends the fetch: what is missing then does not come.
    """

    def __init__(self, path: Path, files: Iterable[File], home: Path) -> None:
        """``home`` is the folder that holds all of the manifest's files. Nothing has arrived yet."""
        self._path = path
        self._lock = threading.Lock()
        self._now = Arrivals({home / file.kept_at: Coming(file.path, file.bytes) for file in files})
        self._write()

    def add(self, place: Path) -> None:
        """This file is verified and has its final name."""
        with self._lock:
            arrived = replace(self._now.files[place], verified=True)
            self._now = replace(self._now, files={**self._now.files, place: arrived})
            self._write()

    def __enter__(self) -> Record:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, KitError):
            # A disk that is full cannot hold the word; the agent ends those who wait all the same.
            with self._lock, suppress(KitError):
                self._now = replace(self._now, failure=error)
                self._write()

    def _write(self) -> None:
        failure = self._now.failure
        document = {
            "files": {str(place): asdict(each) for place, each in self._now.files.items()},
            "failure": {"problem": failure.problem, "fix": failure.fix} if failure else None,
        }
        try:
            files.replace_text(self._path, json.dumps(document))
        except OSError as error:
            raise cannot_write(self._path.parent, error) from error
