"""What is known of a clip, kept in its MP4 file, so that a clip found later can be made again."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bootstrap.errors import KitError

# The only free-text tags that every player and tagger keeps in an MP4.
TITLE, COMMENT, TOOL = "title", "comment", "encoding_tool"


@dataclass(frozen=True)
class Metadata:
    """``values`` are the request's, complete: the seed among them."""

    model: str
    kit_version: str
    values: dict[str, Any] = field(default_factory=dict)

    def tags(self) -> dict[str, str]:
        """As container tags."""
        document = {"model": self.model, "kit_version": self.kit_version, "values": self.values}
        return {
            TITLE: self.model,
            COMMENT: json.dumps(document, sort_keys=True, separators=(",", ":")),
            TOOL: f"kinokit {self.kit_version}",
        }


def read(path: Path) -> Metadata:
    """Read back what the clip was made with.

    Raises:
        KitError: not a video, or not one of ours.
    """
    import av  # loads FFmpeg's libraries: only when a clip is opened

    try:
        with av.open(str(path)) as container:
            tags = {key.lower(): value for key, value in container.metadata.items()}
    except (OSError, ValueError) as error:  # PyAV's errors are kinds of these
        raise KitError(
            f"{path.name} is not a readable video: {error}", fix="give an MP4 made by this kit"
        ) from error
    try:
        document = json.loads(tags.get(COMMENT, ""))
        return Metadata(
            model=document["model"], kit_version=document["kit_version"], values=document["values"]
        )
    except (ValueError, KeyError, TypeError) as error:
        raise KitError(
            f"{path.name} says nothing of how it was made", fix="give an MP4 made by this kit"
        ) from error
