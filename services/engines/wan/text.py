"""The prompt's embedding: cleaning, SentencePiece from inside the file, UMT5 with FP8 weights kept in FP8."""

from __future__ import annotations

import html
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bootstrap.errors import KitError
from services.engines.wan import umt5
from services.engines.wan.settings import Place
from services.engines.weights import checkpoint, flat_buffer, linear
from services.engines.weights import safetensors as files
from services.engines.weights.checkpoint import Checkpoint
from services.engines.weights.loader import Loader
from services.engines.weights.safetensors import Stored

VOCABULARY = "spiece_model"
TABLE = "shared.weight"  # the embedding of each token
END, PAD = 1, 0
REMEMBERED_BYTES = 64 * 1024**2  # of embeddings, as long as their prompts: 16 KiB a token with UMT5-XXL
FP8 = torch.float8_e4m3fn


def clean(prompt: str) -> str:
    """As diffusers does it: broken characters mended, HTML entities resolved, white space made single."""
    import ftfy  # here: only prompts need it

    mended = html.unescape(html.unescape(ftfy.fix_text(prompt)))
    return re.sub(r"\s+", " ", mended).strip()


class TextEncoder:
    """Loads itself when a prompt is new. ``place``: "gpu" only while it encodes, "resident", or "cpu"."""

    def __init__(
        self,
        path: Path,
        vocabulary: Path | None,
        config: Mapping[str, Any],
        device: torch.device,
        place: Place,
        loader: Loader,
        length: int,
    ) -> None:
        self._device = device if place != "cpu" else torch.device("cpu")
        self._keep = place != "gpu"
        self._loader = loader if place != "cpu" else Loader(self._device)
        self._length = length
        self._model = umt5.Encoder(config)
        self._file, spiece = _open(path, self._model, (config["vocab_size"], config["d_model"]))
        self._tokens = _tokenizer(path, spiece, vocabulary)
        _check_vocabulary(path, self._tokens, self._file)
        linear.narrow(self._model, lambda name: self._file.is_fp8(f"{name}.weight"))
        self._layout = flat_buffer.lay_out(
            (name, FP8 if tensor.dtype == FP8 else torch.float32, tuple(tensor.shape))
            for name, tensor in self._model.state_dict().items()
        )
        self._buffer: Tensor | None = None
        self._known: OrderedDict[str, Tensor] = OrderedDict()

    def warm(self) -> None:
        """Load now, if the encoder stays loaded."""
        if self._keep and self._buffer is None:
            self._load()

    def warm_up(self) -> None:
        """Encode nothing, which the guidance asks for too, where that needs no loading."""
        if self._buffer is not None:
            self.encode("")

    def ids(self, prompt: str) -> list[int]:
        """Token ids, with the end token, cut to the model's length."""
        ids: list[int] = self._tokens.encode(clean(prompt))
        return [*ids[: self._length - 1], END]

    @torch.inference_mode()
    def encode(self, prompt: str) -> Tensor:
        """float32 [1, length, width] on the CPU; zeros past the prompt's end."""
        if prompt not in self._known:
            self._remember(prompt, self._computed(prompt))
        self._known.move_to_end(prompt)
        hidden = self._known[prompt]
        padded: Tensor = hidden.new_zeros(1, self._length, hidden.shape[-1])
        padded[0, : len(hidden)] = hidden
        return padded

    @property
    def remembered_bytes(self) -> int:
        """What the embeddings of earlier prompts take in host memory."""
        return sum(hidden.nbytes for hidden in self._known.values())

    def _remember(self, prompt: str, hidden: Tensor) -> None:
        self._known[prompt] = hidden
        while self.remembered_bytes > REMEMBERED_BYTES and len(self._known) > 1:
            self._known.popitem(last=False)

    def _computed(self, prompt: str) -> Tensor:
        """[tokens, width] of the prompt's own tokens: masked padding changes nothing and is zeroed later."""
        try:
            if self._buffer is None:
                self._load()
            inputs = self._embed(self.ids(prompt)).to(self._device)
            hidden: Tensor = self._model(inputs)
            return hidden.float().cpu().contiguous()
        finally:
            if not self._keep:
                self.unload()  # also when the memory did not suffice

    def _embed(self, ids: list[int]) -> Tensor:
        """The table's rows, float32 [tokens, width], read from the file: the table has 2 GB."""
        table = self._file.stored[TABLE]
        scale = self._file.scale(TABLE) if self._file.is_fp8(TABLE) else None
        row = torch.empty(table.shape[1:], dtype=table.dtype)
        rows = []
        for number in ids:
            place = replace(
                table, shape=tuple(row.shape), start=table.start + number * row.nbytes, nbytes=row.nbytes
            )
            files.read_into(row, place)
            wide = row.float() if scale is None else row.float() * scale[number]
            rows.append(wide.clone())  # the buffer is read into again
        return torch.stack(rows)

    def unload(self) -> None:
        """Give the memory back; the next new prompt loads again, from the page cache."""
        self._buffer = None
        linear.bind(self._model, dict.fromkeys(self._model.state_dict(), torch.empty(0, device="meta")))

    def _load(self) -> None:
        with torch.inference_mode():
            buffer = torch.empty(self._layout.nbytes, dtype=torch.uint8, device=self._device)
            views = self._layout.views(buffer)
            wide: list[tuple[str, Tensor, Tensor]] = []
            reads: list[tuple[Stored, Tensor]] = []
            for name, view in views.items():
                layer, _, leaf = name.rpartition(".")
                if leaf == "scale":
                    view.copy_(self._file.scale(f"{layer}.weight"))
                    continue
                source = f"{layer}.weight" if leaf == "codes" else name
                stored = self._file.stored[source]
                if stored.dtype == view.dtype:
                    reads.append((stored, view))
                else:
                    raw = torch.empty(stored.shape, dtype=stored.dtype, device=self._device)
                    wide.append((source, raw, view))
                    reads.append((stored, raw))
            self._loader.load(reads)
            for name, raw, view in wide:
                view.copy_(self._file.widen(name, raw))
            linear.bind(self._model, views)
            self._buffer = buffer  # only now: what is half filled must be filled again


def _open(path: Path, model: umt5.Encoder, table: tuple[int, int]) -> tuple[Checkpoint, Stored | None]:
    """The file's tensors, held against the model's and the table of tokens, without what is no weight."""
    shapes = {TABLE: table, **linear.shapes(model)}
    found = files.open_weights(path)
    spiece = found.stored.pop(VOCABULARY, None)
    # Older exports repeat the shared table.
    return checkpoint.check(found, shapes, ignored=("encoder.embed_tokens.weight",)), spiece


def _tokenizer(path: Path, spiece: Stored | None, vocabulary: Path | None) -> Any:
    if spiece is not None:
        proto = files.read(spiece).numpy().tobytes()
    elif vocabulary is not None and vocabulary.is_file():
        proto = vocabulary.read_bytes()
    else:
        raise KitError(
            f"{path.name} holds no {VOCABULARY}, and no spiece.model stands beside it",
            fix="use the text encoder that the manifest names",
        )
    import sentencepiece  # here: only prompts need it

    try:
        return sentencepiece.SentencePieceProcessor(model_proto=proto)
    except RuntimeError:
        raise KitError(
            f"the tokenizer of {path.name} is no SentencePiece model", fix="fetch the text encoder again"
        ) from None


def _check_vocabulary(path: Path, tokens: Any, file: Checkpoint) -> None:
    rows, pieces = file.stored[TABLE].shape[0], tokens.vocab_size()
    if pieces > rows:
        raise KitError(
            f"{path.name} embeds {rows} tokens, its tokenizer knows {pieces}",
            fix="use the text encoder that the manifest names",
        )
