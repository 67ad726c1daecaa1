"""Each kernel against its twin in torch, and its time; the decoder; loading."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from . import files
from .device import GIB
from .record import distance, guard, median_ms, put


def parts(options: argparse.Namespace) -> None:
    """Each kernel against its torch twin, and its time at 832x480x81."""
    from services.engines.kernels import hopper, ops, rows
    from services.engines.weights import fp8_linear

    device, tokens, width, heads, head, ffn = torch.device("cuda"), 32760, 5120, 40, 128, 13824
    bf16 = torch.bfloat16

    def twin(name: str, kernel: Callable[[], Any], reference: Callable[[], Any]) -> None:
        got, want = kernel(), reference()
        for number, (a, b) in enumerate(zip(got, want, strict=True)):
            put(f"{name}_{number}_error", round(distance(a, b), 6))

    def rows_checked() -> None:
        x, branch = (torch.randn(1000, width, device=device, dtype=bf16) for _ in range(2))
        gate, multiply, shift = (torch.randn(2, width, device=device) for _ in range(3))

        def both(use: bool) -> Any:
            mine = x.clone()
            run = rows.add_norm_quantise if use else reference_add_norm
            codes, scales = run(mine, branch, gate, multiply, shift, 300, 1e-6)
            return mine, codes.float() * scales[:, None]

        def reference_add_norm(*a: Any) -> Any:
            return ops.add_norm_quantise(*(t.cpu() if isinstance(t, torch.Tensor) else t for t in a))

        mine = x.clone()
        codes, scales = rows.add_norm_quantise(mine, branch, gate, multiply, shift, 300, 1e-6)
        cpu = x.cpu()
        c2, s2 = ops.add_norm_quantise(cpu, branch.cpu(), gate.cpu(), multiply.cpu(), shift.cpu(), 300, 1e-6)
        put("add_norm_x_error", distance(mine.cpu(), cpu))
        put(
            "add_norm_codes_error",
            distance(codes.cpu().float() * scales.cpu()[:, None], c2.float() * s2[:, None]),
        )
        wide = torch.randn(500, ffn, device=device, dtype=bf16)
        codes, scales = rows.quantise(wide, gelu=True)
        c2, s2 = ops.quantise(wide.cpu(), gelu=True)
        put(
            "gelu_codes_error",
            distance(codes.cpu().float() * scales.cpu()[:, None], c2.float() * s2[:, None]),
        )
        weight = torch.rand(width, device=device) + 0.5
        put(
            "rms_error",
            distance(rms := rows.rms_norm(x, weight, 1e-6).cpu(), ops.rms_norm(x.cpu(), weight.cpu(), 1e-6)),
        )
        del rms

    def products() -> None:
        for name, out, inner in (
            ("qkv", 3 * width, width),
            ("o", width, width),
            ("ffn0", ffn, width),
            ("ffn2", width, ffn),
        ):
            x = torch.randn(tokens, inner, device=device, dtype=bf16)
            w8, ws = fp8_linear.quantise_rows(torch.randn(out, inner, device=device) * 0.02)
            x8, xs = rows.quantise(x)
            bias = torch.randn(out, device=device, dtype=bf16)
            ms = median_ms(lambda: fp8_linear.multiply(x8, xs, w8, ws, bias))  # noqa: B023
            put(f"product_{name}_ms", round(ms, 3))
            put(f"product_{name}_tflops", round(2 * tokens * out * inner / ms / 1e9))

    def row_times() -> None:
        x, branch = (torch.randn(tokens, width, device=device, dtype=bf16) for _ in range(2))
        vectors = [torch.randn(2, width, device=device) for _ in range(3)]
        ms = median_ms(lambda: rows.add_norm_quantise(x, branch, *vectors, tokens, 1e-6))
        put("add_norm_quantise_ms", [round(ms, 3), "floor", round(tokens * width * 7 / 4.3e9, 3)])
        ms = median_ms(lambda: rows.quantise(x))
        codes, scales = (
            torch.empty(tokens, width, dtype=torch.float8_e4m3fn, device=device),
            torch.empty(tokens, device=device),
        )
        for warps, each in ((4, 1), (4, 2), (8, 2), (8, 4), (16, 4)):
            ms = median_ms(lambda: rows._add_norm_quantise[(-(-tokens // each),)](  # noqa: B023
                x, branch, *vectors, codes, scales, tokens, tokens, 1e-6,
                WIDTH=width, BLOCK=8192, ROWS=each, ADD=True, GATE=True, NORM=True, num_warps=warps))  # noqa: B023  # fmt: skip
            put(f"add_norm_quantise_{warps}_warps_{each}_rows_ms", round(ms, 3))
        put("quantise_ms", [round(ms, 3), "floor", round(tokens * width * 3 / 4.3e9, 3)])
        wide = torch.randn(tokens, ffn, device=device, dtype=bf16)
        ms = median_ms(lambda: rows.quantise(wide, gelu=True))
        put("gelu_quantise_ms", [round(ms, 3), "floor", round(tokens * ffn * 3 / 4.3e9, 3)])
        ms = median_ms(lambda: rows.rms_norm(x, vectors[0][0], 1e-6))
        put("rms_ms", [round(ms, 3), "floor", round(tokens * width * 4 / 4.3e9, 3)])

    def attention_checked() -> None:
        for count in (1000, 4096, 32760):
            qkv = torch.randn(count, 3 * heads * head, device=device, dtype=bf16)
            weights = torch.rand(2, width, device=device) * 0.5 + 0.75
            angle = torch.rand(count, head // 2, device=device) * 6
            args = (weights, angle.cos(), angle.sin())
            q, k = rows.norm_rotate(qkv, *args, head, 1e-6)
            if count == 1000:
                q2, k2 = (
                    ops.rotate(
                        ops.rms_norm(part.float().cpu(), w.cpu(), 1e-6), args[1].cpu(), args[2].cpu(), head
                    )
                    for part, w in zip(qkv.split(width, dim=1)[:2], weights, strict=True)
                )
                put("rotate_error", [distance(q.cpu(), q2), distance(k.cpu(), k2)])
            few = 4 * head
            want = ops.attend(
                q[:, :few].float(), k[:, :few].float(), qkv[:, 2 * width : 2 * width + few].float(), head
            )
            got = hopper.attention(qkv, *args, 1e-6)
            torch.cuda.synchronize()
            put(
                f"attention_{count}_error",
                [distance(got[:, :few], want), "finite", bool(got.isfinite().all())],
            )
            dense = ops.attend(q[:, :few], k[:, :few], qkv[:, 2 * width : 2 * width + few], head)
            put(f"attention_{count}_bf16_error", distance(dense, want))
            # As sharp as trained heads are, and with an offset in k and v.
            del want, got

    def attention_time() -> None:
        qkv = torch.randn(tokens, 3 * width, device=device, dtype=bf16)
        weights = torch.ones(2, width, device=device)
        angle = torch.rand(tokens, head // 2, device=device) * 6
        args = (weights, angle.cos(), angle.sin())
        put(
            "norm_rotate_int8_ms",
            round(median_ms(lambda: rows.norm_rotate_int8(qkv, *args, head, 1e-6, 0.1, hopper.QUERIES)), 3),
        )
        q, qs, k = rows.norm_rotate_int8(qkv, *args, head, 1e-6, head**-0.5 * hopper.LOG2_E, hopper.QUERIES)
        mean = torch.zeros(width, device=device)
        put("tile_keys_ms", round(median_ms(lambda: rows.tile_keys(k, mean, head, hopper.KEYS)), 3))
        k8, ks = rows.tile_keys(k, mean, head, hopper.KEYS)
        v = qkv[:, 2 * width :]
        scale = torch.full((width,), 0.01, device=device)
        put(
            "tile_values_ms", round(median_ms(lambda: rows.tile_values(v, mean, scale, head, hopper.KEYS)), 3)
        )
        put(
            "value_scale_ms",
            round(median_ms(lambda: torch.linalg.vector_norm(v, ord=float("inf"), dim=0)), 3),
        )
        v8 = rows.tile_values(v, mean, scale, head, hopper.KEYS)
        out = torch.empty(tokens, width, device=device, dtype=bf16)
        ms = median_ms(lambda: hopper.run(q, qs, k8, ks, v8, scale, mean, out, keys=tokens))
        put("attention_kernel_ms", round(ms, 3))
        put("attention_kernel_tflops", round(4 * tokens * tokens * width / ms / 1e9))
        put("attention_whole_ms", round(median_ms(lambda: hopper.attention(qkv, *args, 1e-6)), 3))
        q, k = rows.norm_rotate(qkv, *args, head, 1e-6)
        put("attention_bf16_ms", round(median_ms(lambda: ops.attend(q, k, v, head), 3, 1), 3))
        words = torch.randn(512, width, device=device, dtype=bf16)
        put("cross_attention_ms", round(median_ms(lambda: ops.attend(q, words, words, head)), 3))

    for name, step in (
        ("rows", rows_checked), ("attention", attention_checked), ("attention_time", attention_time),
        ("row_times", row_times), ("vae", vae_parts),
    ):  # fmt: skip
        guard(name, step)
    if options.loading:
        guard("loading", lambda: loading(options))


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
                conv, x = conv.to(memory_format=order), x.contiguous(memory_format=order)
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
