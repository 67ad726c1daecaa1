"""Fused GPU kernels for the steps of SVD that only move memory, and for two that cuBLAS and SDPA do slowly.

Each has the meaning of the function of the same name in ``services.engines.svd.ops``. Sums are in float32.
Numbers of rows and frames are not specialised: whole rows of channels are read at once, and a kernel that
serves every size of clip is compiled once.
"""
