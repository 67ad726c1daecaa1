"""How long a prompt is for a text encoder, near enough to say that its end may not be read.

The exact number needs the tokenizer, which lies within the model's files on the worker's machine.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

CHARACTERS_A_PIECE = 5  # of a word of an alphabet: most English words are one or two pieces
# Scripts that are written without spaces: a piece is one or two characters.
DENSE = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
DENSE_A_PIECE = 1.5
WORD = re.compile(r"\w+|[^\w\s]")


def pieces(text: str) -> int:
    """About how many tokens, with the one that ends the text."""
    dense = len(DENSE.findall(text))
    words = WORD.findall(DENSE.sub(" ", text))
    return (
        math.ceil(dense / DENSE_A_PIECE)
        + sum(math.ceil(len(word) / CHARACTERS_A_PIECE) for word in words)
        + 1
    )


def warnings(values: Mapping[str, Any], tokens_read: int | None) -> list[str]:
    """``tokens_read``: the tokens that the model reads; None where it reads all, or no text."""
    if tokens_read is None:
        return []
    is_guided = (values.get("guidance_scale") or 1) > 1
    found = []
    for name in ("prompt", *(("negative_prompt",) if is_guided else ())):
        about = pieces(values.get(name) or "")
        if about > tokens_read:
            found.append(
                f"the {name.replace('_', ' ')} has about {about} tokens, and this model reads {tokens_read}: "
                "its end may not be read; say what matters first"
            )
    return found
