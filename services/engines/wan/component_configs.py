"""The component configs of a model, and the vocabulary that may stand beside its text encoder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bootstrap.errors import KitError
from services.engines.start.files import Arriving

CONFIGS = Path(__file__).parent / "configs"


def configs(name: str | None) -> dict[str, Any]:
    if name is None:
        raise KitError("the manifest names no config for this Wan model", fix="add `config:` to it")
    folder = CONFIGS / name if (CONFIGS / name).is_dir() else Path(name)
    try:
        return {
            "index": json.loads((folder / "model_index.json").read_text()),
            **{
                part: json.loads((folder / part / "config.json").read_text())
                for part in ("transformer", "vae", "text_encoder")
            },
        }
    except FileNotFoundError as error:
        raise KitError(
            f"the model's config is not whole: {error.filename} is missing",
            fix="check `config:` in the manifest",
        ) from None
    except json.JSONDecodeError as error:
        raise KitError(f"a config in {folder} is no JSON: {error}", fix="fetch the model again") from None


def vocabulary(files: Mapping[str, Path], arriving: Arriving) -> Path | None:
    """``spiece.model`` of a diffusers folder: its own component, or beside the text encoder's folder."""
    own = files.get("tokenizer")
    folder = files["text_encoder"].parent / "tokenizer" if own is None else own
    inside = folder / "spiece.model"
    return inside if arriving.is_coming(inside) else own
