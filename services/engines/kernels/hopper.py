"""Builds and runs the CUDA attention kernel for Hopper; NVRTC compiles it once; kept on the data volume."""

from __future__ import annotations

import ctypes
import hashlib
import os
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bootstrap import files

SOURCE = Path(__file__).with_name("attention_sm90.cu")
HEAD, KEYS, STAGES, GROUPS = 128, 96, 6, 3  # GROUPS of 64 queries a block; the fastest of those measured
QUERIES = 64 * GROUPS
THREADS = 128 + 128 * GROUPS
SHARED_BYTES = QUERIES * HEAD + 2 * STAGES * KEYS * HEAD + 8 * (1 + 4 * STAGES)
LOG2_E = 1.4426950408889634
FP8_LARGEST = 448.0
CACHE_VARIABLE = "KINOKIT_KERNELS_DIR"  # where compiled code is kept between boots
SAMPLED = 16  # every so many rows make the means: any constant may be taken off, near the mean is best


def supports(device: torch.device, head: int) -> bool:
    """Hopper itself: the instructions are gone in later chips."""
    return device.type == "cuda" and head == HEAD and torch.cuda.get_device_capability(device) == (9, 0)


def attention(qkv: Tensor, weights: Tensor, cosines: Tensor, sines: Tensor, eps: float) -> Tensor:
    """Self-attention of ``qkv`` [rows, 3 * width] bfloat16, norm and rotation included: [rows, width].

    ``weights`` is float32 [2, width], of the query's and the key's norm; ``cosines``, ``sines`` [rows, 64].
    """
    from services.engines.kernels import rows  # here: Triton is there only with a GPU's torch

    count, width = qkv.shape[0], qkv.shape[1] // 3
    q, q_scale, k = rows.norm_rotate_int8(
        qkv, weights, cosines, sines, HEAD, eps, HEAD**-0.5 * LOG2_E, QUERIES
    )
    k8, k_scale = rows.tile_keys(k, k[::SAMPLED].float().mean(dim=0), HEAD, KEYS)
    del k
    v = qkv[:, 2 * width :]
    v_mean = v[::SAMPLED].float().mean(dim=0)
    most = torch.linalg.vector_norm(v, ord=float("inf"), dim=0).float() + v_mean.abs()
    v_scale = most.clamp(min=1e-12) / FP8_LARGEST
    v8 = rows.tile_values(v, v_mean, v_scale, HEAD, KEYS)
    out = torch.empty(count, width, dtype=torch.bfloat16, device=qkv.device)
    run(q, q_scale, k8, k_scale, v8, v_scale, v_mean, out, keys=count)
    return out


def run(
    q: Tensor,
    q_scale: Tensor,
    k: Tensor,
    k_scale: Tensor,
    v: Tensor,
    v_scale: Tensor,
    v_mean: Tensor,
    out: Tensor,
    *,
    keys: int,
) -> None:
    """The kernel itself, on tiles as ``rows`` makes them; ``out`` is [rows, width]."""
    from cuda.bindings import driver

    tensors = [t.data_ptr() for t in (q, q_scale, k, k_scale, v, v_scale, v_mean, out)]
    values = (*tensors, out.shape[0], keys, out.stride(0))
    types = (*[ctypes.c_void_p] * len(tensors), ctypes.c_int, ctypes.c_int, ctypes.c_int)
    stream = torch.cuda.current_stream(q.device).cuda_stream
    grid = (q.shape[1], q.shape[0], 1)
    _must(
        driver.cuLaunchKernel(
            _kernel(q.device.index), *grid, THREADS, 1, 1, SHARED_BYTES, stream, (values, types), 0
        )
    )


def source(keys: int = KEYS, stages: int = STAGES, groups: int = GROUPS) -> str:
    """The CUDA source, with the wrappers of instructions that name a hundred registers each."""
    scores = keys // 2
    return "\n".join([
        f"#define KEYS {keys}",
        f"#define STAGES {stages}",
        f"#define GROUPS {groups}",
        "#define MMA_SCORES "
        + _wrapper(
            f"m64n{keys}k32.s32.s8.s8", "s", "r", scores, "", '"l"(q), "l"(k)', f"%{scores}, %{scores + 1}, p"
        ),
        "#define MMA_VALUES "
        + _wrapper(
            "m64n128k32.f32.e4m3.e4m3", "o", "f", 64, "{%64, %65, %66, %67}, ",
            '"r"(w[0]), "r"(w[1]), "r"(w[2]), "r"(w[3]), "l"(v)', "%68, p, 1, 1",
        ),
        SOURCE.read_text(),
    ])  # fmt: skip


def _wrapper(shape: str, array: str, kind: str, count: int, left: str, inputs: str, rest: str) -> str:
    registers = ", ".join(f"%{i}" for i in range(count))
    outputs = ", ".join(f'"+{kind}"({array}[{i}])' for i in range(count))
    return (
        f'asm volatile("{{\\n.reg .pred p;\\nsetp.ne.b32 p, 1, 0;\\n'
        f'wgmma.mma_async.sync.aligned.{shape} {{{registers}}}, {left}{rest};\\n}}" : {outputs} : {inputs});'
    )


@cache
def _kernel(device: int) -> Any:
    from cuda.bindings import driver

    _, major, minor = _version()
    name = hashlib.sha256(f"{source()}{major}.{minor}".encode()).hexdigest()[:16]
    folder = os.environ.get(CACHE_VARIABLE)
    kept = Path(folder, f"attention_sm90_{name}.cubin") if folder else None
    image = kept.read_bytes() if kept and kept.is_file() else None
    if image is None:
        image = _compile(source())
        if kept:
            kept.parent.mkdir(parents=True, exist_ok=True)
            files.replace_bytes(kept, image)
    module = _must(driver.cuModuleLoadData(image))
    kernel = _must(driver.cuModuleGetFunction(module, b"attention"))
    attribute = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
    _must(driver.cuFuncSetAttribute(kernel, attribute, SHARED_BYTES))
    return kernel


def _version() -> Any:
    from cuda.bindings import nvrtc

    return nvrtc.nvrtcVersion()


def _compile(code: str) -> bytes:
    from cuda.bindings import nvrtc

    program = _must(nvrtc.nvrtcCreateProgram(code.encode(), b"attention_sm90.cu", 0, [], []))
    options = [b"--gpu-architecture=sm_90a", b"--std=c++17"]
    (status,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
    if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        log = bytes(_must(nvrtc.nvrtcGetProgramLogSize(program)))
        nvrtc.nvrtcGetProgramLog(program, log)
        raise RuntimeError(f"NVRTC: {log.decode(errors='replace')}")
    image = bytes(_must(nvrtc.nvrtcGetCUBINSize(program)))
    _must(nvrtc.nvrtcGetCUBIN(program, image))
    return image


def _must(answer: Any) -> Any:
    """The value of a driver call, whose first item is its status."""
    status, *rest = answer
    if int(status):
        raise RuntimeError(f"CUDA: {status}")
    return rest[0] if rest else None
