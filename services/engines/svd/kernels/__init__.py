"""Fused GPU kernels for the steps of SVD that only move memory, and for two that cuBLAS and SDPA do slowly.

Each has the meaning of the function of the same name in ``services.engines.svd.ops``. Sums are in float32.
"""
