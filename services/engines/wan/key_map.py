"""Where the original names of Wan's transformer and LoRA files lie in diffusers' classes.

Written from the model's side: for each tensor that the class has, the one name a file may call it.
"""

from __future__ import annotations

# Longest first where one name contains another; each applies to a whole dotted part of a diffusers name.
OUTSIDE = (
    ("condition_embedder.time_embedder.linear_1", "time_embedding.0"),
    ("condition_embedder.time_embedder.linear_2", "time_embedding.2"),
    ("condition_embedder.text_embedder.linear_1", "text_embedding.0"),
    ("condition_embedder.text_embedder.linear_2", "text_embedding.2"),
    ("condition_embedder.time_proj", "time_projection.1"),
    ("patch_embedding", "patch_embedding"),
    ("proj_out", "head.head"),
    ("scale_shift_table", "head.modulation"),
)
IN_BLOCK = (
    ("attn1.to_out.0", "self_attn.o"),
    ("attn1.to_q", "self_attn.q"),
    ("attn1.to_k", "self_attn.k"),
    ("attn1.to_v", "self_attn.v"),
    ("attn1.norm_q", "self_attn.norm_q"),
    ("attn1.norm_k", "self_attn.norm_k"),
    ("attn2.to_out.0", "cross_attn.o"),
    ("attn2.to_q", "cross_attn.q"),
    ("attn2.to_k", "cross_attn.k"),
    ("attn2.to_v", "cross_attn.v"),
    ("attn2.norm_q", "cross_attn.norm_q"),
    ("attn2.norm_k", "cross_attn.norm_k"),
    ("ffn.net.0.proj", "ffn.0"),
    ("ffn.net.2", "ffn.2"),
    ("norm2", "norm3"),  # the affine norm stands before cross-attention; the two libraries count differently
    ("scale_shift_table", "modulation"),
)
PREFIXES = ("model.diffusion_model.", "")  # of transformer files
LORA_PREFIXES = ("diffusion_model.", "transformer.", "lora_unet_", "")


def original(name: str) -> str:
    """What Wan's own files call a tensor of diffusers' ``WanTransformer3DModel``."""
    if not name.startswith("blocks."):
        return _rename(name, OUTSIDE)
    _, number, rest = name.split(".", 2)
    return f"blocks.{number}.{_rename(rest, IN_BLOCK)}"


def lora_spellings(name: str) -> tuple[str, ...]:
    """What LoRA files call a linear layer: Wan's name, the class's, or Wan's with "_" for each dot."""
    theirs = original(name)
    return theirs, name, theirs.replace(".", "_")


def block_of(name: str) -> int | None:
    """The number of the block that a tensor belongs to; None outside the blocks."""
    return int(name.split(".", 2)[1]) if name.startswith("blocks.") else None


def _rename(name: str, table: tuple[tuple[str, str], ...]) -> str:
    for ours, theirs in table:
        if name == ours or name.startswith(ours + "."):
            return theirs + name[len(ours) :]
    return name
