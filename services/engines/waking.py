"""The part of a start that needs no weights: torch's import and the GPU's own start."""

from __future__ import annotations

from services.engines import spans


def wake(device: str) -> None:
    """Import torch and, on "cuda", make the context and the libraries' handles: seconds on a cold box."""
    with spans.span("import torch"):
        import torch
    if device != "cuda":
        return
    with spans.span("start the GPU"):
        square = torch.ones(64, 64, device="cuda", dtype=torch.bfloat16)
        (square @ square).sum().item()  # cuBLAS's handle and workspace
        torch.nn.functional.conv2d(square[None, None], square[None, None, :3, :3])  # cuDNN's
        torch.empty(1024, pin_memory=True)  # the host allocator
        torch.cuda.synchronize()
