"""Each kernel against its twin in torch, and its time at 832x480x81; the decoder; loading."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from . import files
from .device import GIB
from .record import distance, guard, median_ms, put

CUDA, BF16 = torch.device("cuda"), torch.bfloat16
TOKENS, WIDTH, HEADS, HEAD, FFN = 32760, 5120, 40, 128, 13824
EPS = 1e-6
BYTES_PER_MS = 4.3e9  # what an H200's memory gives, for the floor of what only moves bytes
WARPS_AND_ROWS = ((4, 1), (4, 2), (8, 2), (8, 4), (16, 4))


def parts(options: argparse.Namespace) -> None:
    """Each kernel against its torch twin, and its time."""
    steps = {
        "rows": rows_checked,
        "attention": attention_checked,
        "attention_time": attention_time,
        "products": products,
        "row_times": row_times,
        "vae": vae_parts,
    }
    for name, step in steps.items():
        guard(name, step)
    if options.loading:
        guard("loading", lambda: loading(options))


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, device=CUDA, dtype=BF16)


def rows_checked() -> None:
    from services.engines.kernels import ops, rows

    x, branch = random(1000, WIDTH), random(1000, WIDTH)
    vectors = [torch.randn(2, WIDTH, device=CUDA) for _ in range(3)]
    mine, plain = x.clone(), x.cpu()
    one, two, three = vectors
    got = rows.add_norm_quantise(mine, branch, one, two, three, 300, EPS)
    wanted = ops.add_norm_quantise(plain, branch.cpu(), one.cpu(), two.cpu(), three.cpu(), 300, EPS)
    put("add_norm_x_error", distance(mine.cpu(), plain))
    put("add_norm_codes_error", distance(meant(*got), meant(*wanted)))
    wide = random(500, FFN)
    put(
        "gelu_codes_error",
        distance(meant(*rows.quantise(wide, gelu=True)), meant(*ops.quantise(wide.cpu(), gelu=True))),
    )
    weight = torch.rand(WIDTH, device=CUDA) + 0.5
    put("rms_error", distance(rows.rms_norm(x, weight, EPS).cpu(), ops.rms_norm(x.cpu(), weight.cpu(), EPS)))


def meant(codes: Tensor, scales: Tensor) -> Tensor:
    """What FP8 codes and row scales stand for, on the CPU."""
    return codes.cpu().float() * scales.cpu()[:, None]


def products() -> None:
    """The four sizes of FP8 products, alone."""
    from services.engines.kernels import rows
    from services.engines.weights import fp8_linear

    sizes = {"qkv": (3 * WIDTH, WIDTH), "o": (WIDTH, WIDTH), "ffn0": (FFN, WIDTH), "ffn2": (WIDTH, FFN)}
    for name, (out, inner) in sizes.items():
        codes, scales = rows.quantise(random(TOKENS, inner))
        weight = fp8_linear.quantise_rows(torch.randn(out, inner, device=CUDA) * 0.02)
        bias = random(out)
        ms = median_ms(partial(fp8_linear.multiply, codes, scales, *weight, bias))
        put(f"product_{name}_ms", round(ms, 3))
        put(f"product_{name}_tflops", round(2 * TOKENS * out * inner / ms / 1e9))


def row_times() -> None:
    from services.engines.kernels import rows

    x, branch = random(TOKENS, WIDTH), random(TOKENS, WIDTH)
    vectors = [torch.randn(2, WIDTH, device=CUDA) for _ in range(3)]
    wide = random(TOKENS, FFN)
    one, two, three = vectors
    put_moved("add_norm_quantise", lambda: rows.add_norm_quantise(x, branch, one, two, three, TOKENS, EPS), 7)
    put_moved("quantise", lambda: rows.quantise(x), 3)
    put_moved("gelu_quantise", lambda: rows.quantise(wide, gelu=True), 3 * FFN / WIDTH)
    put_moved("rms", lambda: rows.rms_norm(x, vectors[0][0], EPS), 4)
    codes = torch.empty(TOKENS, WIDTH, dtype=torch.float8_e4m3fn, device=CUDA)
    scales = torch.empty(TOKENS, device=CUDA)
    for warps, each in WARPS_AND_ROWS:
        ms = median_ms(lambda: rows._add_norm_quantise[(-(-TOKENS // each),)](  # noqa: B023
            x, branch, *vectors, codes, scales, TOKENS, TOKENS, EPS,
            WIDTH=WIDTH, BLOCK=8192, ROWS=each, ADD=True, GATE=True, NORM=True, num_warps=warps))  # noqa: B023  # fmt: skip
        put(f"add_norm_quantise_{warps}_warps_{each}_rows_ms", round(ms, 3))


def put_moved(name: str, run: Callable[[], object], bytes_per_value: float) -> None:
    """The time of what only moves bytes, beside its floor; values are those of TOKENS x WIDTH."""
    floor = round(TOKENS * WIDTH * bytes_per_value / BYTES_PER_MS, 3)
    put(f"{name}_ms", [round(median_ms(run), 3), "floor", floor])


def attention_checked() -> None:
    from services.engines.kernels import hopper, ops, rows

    for count in (1000, 4096, TOKENS):
        qkv = random(count, 3 * HEADS * HEAD)
        weights = torch.rand(2, WIDTH, device=CUDA) * 0.5 + 0.75
        angle = torch.rand(count, HEAD // 2, device=CUDA) * 6
        cos, sin = angle.cos(), angle.sin()
        q, k = rows.norm_rotate(qkv, weights, cos, sin, HEAD, EPS)
        if count == 1000:
            normed = (
                ops.rms_norm(part.float().cpu(), weight.cpu(), EPS)
                for part, weight in zip(qkv.split(WIDTH, dim=1)[:2], weights, strict=True)
            )
            wanted = [ops.rotate(part, cos.cpu(), sin.cpu(), HEAD) for part in normed]
            put("rotate_error", [distance(q.cpu(), wanted[0]), distance(k.cpu(), wanted[1])])
        few = 4 * HEAD
        query, key, value = q[:, :few], k[:, :few], qkv[:, 2 * WIDTH : 2 * WIDTH + few]
        want = ops.attend(query.float(), key.float(), value.float(), HEAD)
        got = hopper.attention(qkv, weights, cos, sin, EPS)
        error, finite = distance(got[:, :few], want), bool(got.isfinite().all())
        put(f"attention_{count}_error", [error, "finite", finite])
        put(f"attention_{count}_bf16_error", distance(ops.attend(query, key, value, HEAD), want))


def attention_time() -> None:
    from services.engines.kernels import hopper, ops, rows

    qkv, weights = random(TOKENS, 3 * WIDTH), torch.ones(2, WIDTH, device=CUDA)
    angle = torch.rand(TOKENS, HEAD // 2, device=CUDA) * 6
    args = (qkv, weights, angle.cos(), angle.sin())
    scaled = (*args, HEAD, EPS, HEAD**-0.5 * hopper.LOG2_E, hopper.QUERIES)
    mean, scale = torch.zeros(WIDTH, device=CUDA), torch.full((WIDTH,), 0.01, device=CUDA)
    q, q_scale, k = rows.norm_rotate_int8(*scaled)
    v = qkv[:, 2 * WIDTH :]
    put_ms("norm_rotate_int8", lambda: rows.norm_rotate_int8(*scaled))
    put_ms("tile_keys", lambda: rows.tile_keys(k, mean, HEAD, hopper.KEYS))
    put_ms("tile_values", lambda: rows.tile_values(v, mean, scale, HEAD, hopper.KEYS))
    put_ms("value_scale", lambda: torch.linalg.vector_norm(v, ord=float("inf"), dim=0))
    keys = rows.tile_keys(k, mean, HEAD, hopper.KEYS)
    values = rows.tile_values(v, mean, scale, HEAD, hopper.KEYS)
    out = torch.empty(TOKENS, WIDTH, device=CUDA, dtype=BF16)
    ms = put_ms(
        "attention_kernel",
        lambda: hopper.run(q, q_scale, *keys, values, scale, mean, out, keys=TOKENS),
    )
    put("attention_kernel_tflops", round(4 * TOKENS * TOKENS * WIDTH / ms / 1e9))
    put_ms("attention_whole", lambda: hopper.attention(*args, EPS))
    wide_q, wide_k = rows.norm_rotate(*args, HEAD, EPS)
    put("attention_bf16_ms", round(median_ms(lambda: ops.attend(wide_q, wide_k, v, HEAD), 3, 1), 3))
    words = random(512, WIDTH)
    put_ms("cross_attention", lambda: ops.attend(wide_q, words, words, HEAD))


def put_ms(name: str, run: Callable[[], object]) -> float:
    ms = median_ms(run)
    put(f"{name}_ms", round(ms, 3))
    return ms


def vae_parts() -> None:
    """The largest convolutions alone, in both memory orders."""
    device = torch.device("cuda")
    for allow in (False, True):
        torch.backends.cudnn.benchmark = allow
        for channels, height, width, frames in (
            (96, 480, 832, 4),
            (192, 240, 416, 4),
            (384, 120, 208, 2),
            (384, 60, 104, 1),
        ):
            conv = torch.nn.Conv3d(
                channels, channels, 3, padding=(0, 1, 1), device=device, dtype=torch.bfloat16
            )
            x = torch.randn(1, channels, frames + 2, height, width, device=device, dtype=torch.bfloat16)
            flops = 2 * 27 * channels**2 * frames * height * width
            line = []
            for order in (torch.contiguous_format, torch.channels_last_3d):
                conv.weight.data, x = (
                    conv.weight.data.contiguous(memory_format=order),
                    x.contiguous(memory_format=order),
                )
                with torch.inference_mode():
                    ms = median_ms(lambda: conv(x), 5, 3)  # noqa: B023
                line.append(f"{ms:.3f} ms {flops / ms / 1e9:.0f} TFLOP/s")
            put(f"conv_{channels}_{height}x{width}x{frames}_benchmark_{allow}", line)
    torch.backends.cudnn.benchmark = False


def loading(options: argparse.Namespace) -> None:
    """Page cache to GPU, by threads and chunk; pinned memory's own cost."""
    from services.engines.weights.loader import Loader
    from services.engines.weights.safetensors import open_weights

    found = files.make(Path(options.folder), "wan22", options.layers).components
    device = torch.device("cuda")
    stored = open_weights(found["high_noise"]).stored
    total = sum(entry.nbytes for entry in stored.values())
    targets = [
        (entry, torch.empty(entry.nbytes, dtype=torch.uint8, device=device)) for entry in stored.values()
    ]
    for threads, mib in ((8, 16), (12, 8), (16, 4), (16, 8), (16, 16), (24, 8), (32, 4)):
        loader = Loader(device, threads, mib * 1024**2)
        spans = []
        for _ in range(3):
            started = time.perf_counter()
            loader.load(targets)
            torch.cuda.synchronize()
            spans.append(time.perf_counter() - started)
        put(f"load_{threads}x{mib}MiB_GBps_first_then", [round(total / span / 1e9, 1) for span in spans])
    for gib in (1, 4):
        started = time.perf_counter()
        kept = torch.empty(gib * GIB, dtype=torch.uint8, pin_memory=True)
        put(f"pin_{gib}GiB_s", round(time.perf_counter() - started, 2))
        del kept
    entry = next(e for e in stored.values() if e.nbytes > 2**24)
    raw = torch.empty(entry.nbytes, dtype=torch.uint8, device=device)
    started = time.perf_counter()
    Loader(device).load([(entry, raw)])
    same = (
        raw.cpu().numpy().tobytes() == Path(entry.path).read_bytes()[entry.start : entry.start + entry.nbytes]
        if total < 4e9
        else None
    )
    put("loaded_bytes_equal", same)
