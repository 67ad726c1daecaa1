"""Code for the GPU: Triton kernels that run from Ada on, and one CUDA kernel for Hopper."""
