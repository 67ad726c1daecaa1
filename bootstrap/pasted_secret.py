"""Secrets as people paste them: with blanks, line ends and quotes around them."""

from __future__ import annotations

import re
from typing import Any

from pydantic import SecretStr

QUOTES = ("''", '""', "``", "“”", "‘’", "«»", "„“")


def cleaned(value: Any) -> Any:
    """The bare secret; None when nothing is left of it. Anything that is no text stays as it is.

    ValueError, without the value, for what no header can carry.
    """
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if not isinstance(value, str):
        return value
    text = _bare(value)
    if re.fullmatch(r"\{\{.*\}\}|\$\{.*\}", text):
        return None  # a marketplace's secret of that name is not there
    if any(character.isspace() for character in text):
        raise ValueError("has a blank or a line end in its middle: paste one token, without anything else")
    wrong = sorted({character for character in text if not "!" <= character <= "~"})
    if wrong:
        raise ValueError(f"has characters that no token has ({len(wrong)} kinds): copy it once more")
    if text.startswith(("'", '"', "`")) or text.endswith(("'", '"', "`")):
        raise ValueError("has a quote at one end: paste the token without quotes")
    return text or None


def _bare(text: str) -> str:
    """Without what stands around it: blanks, quotes in pairs, the name of its variable, the word Bearer."""
    while True:
        before = text
        text = text.strip().strip("\ufeff\u200b\u00a0").strip()
        text = re.sub(r"^(?:export\s+)?(?:HF_TOKEN|CIVITAI_TOKEN|KINOKIT_\w+)\s*=\s*", "", text)
        text = re.sub(r"^(?:Authorization:\s*)?Bearer\s+", "", text, flags=re.IGNORECASE)
        if len(text) > 1 and text[0] + text[-1] in QUOTES:
            text = text[1:-1]
        if text == before:
            return text
