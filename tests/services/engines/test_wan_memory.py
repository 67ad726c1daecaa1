"""What a clip took is given back; what does not fit fails one job and leaves the next one room."""

from __future__ import annotations

import gc
import resource
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from transformers import UMT5Config, UMT5EncoderModel

from services.engines.base import OutOfMemory
from services.engines.wan.text import TextEncoder
from services.engines.weights.loader import Loader
from services.parameters.values import Values
from services.video import encode, metadata
from tests.checkpoints import wan
from tests.services.engines import test_wan
from tests.services.worker.crew import crew
from tests.support.waiting import wait_for

MIB = 1024**2
BEYOND_ANY_MACHINE = 2**50  # bytes: the real allocator refuses them at once


@pytest.fixture(scope="module")
def t2v(tmp_path_factory: pytest.TempPathFactory) -> wan.Tiny:
    return wan.make(tmp_path_factory.mktemp("t2v"))


def latents_alive() -> int:
    """Tensors of a clip's latent shape, in whatever frame or traceback they are held."""
    gc.collect()
    found = 0
    for each in gc.get_objects():
        if type(each) is torch.Tensor and each.shape == (1, 16, 3, 6, 8):
            found += 1
    return found


@pytest.mark.parametrize("stage", ["encode", "load", "sample", "decode"])
def test_out_of_memory_anywhere_is_told_with_its_numbers_and_frees_the_clip(
    t2v: wan.Tiny, stage: str
) -> None:
    made = test_wan.engine(t2v, matmul="fp8")
    values = test_wan.VALUES | {"lora_high_strength": 0.5}  # so that the expert is loaded anew
    before = latents_alive()

    def report(now: str, done: int, total: int) -> None:
        if now == stage and done >= min(2, total):
            torch.empty(BEYOND_ANY_MACHINE, dtype=torch.uint8)

    with pytest.raises(OutOfMemory) as caught:
        list(made.generate(Values.of(values), None, report, test_wan.never))
    assert caught.value.wanted_bytes == BEYOND_ANY_MACHINE
    assert 0 < caught.value.peak_bytes < caught.value.total_bytes
    assert latents_alive() == before
    after = made.sample(Values.of(values), None, test_wan.quiet, test_wan.never)
    fresh = test_wan.engine(t2v, matmul="fp8").sample(Values.of(values), None, test_wan.quiet, test_wan.never)
    assert torch.equal(after, fresh)


def test_a_job_that_does_not_fit_fails_with_the_smaller_profile_and_the_next_one_runs(
    t2v: wan.Tiny, tmp_path: Path
) -> None:
    """Through front, worker and child; the child may take 1 GiB more than it has, the clip wants 8."""
    asked = {"prompt": "a cat walks", "size": "64x64", "num_frames": 9, "seed": 1, "lora": True}
    plan = t2v.plan(
        model="wan22",
        profile="resident",
        smaller_profile="swap-long",
        defaults=t2v.defaults | dict(test_wan.VALUES),
    )
    with crew(tmp_path, plan, engine=None) as kit:
        worker = kit.start_worker()
        wait_for(lambda: kit.state()["state"] == "ready", 60)
        child = kit.child(worker)

        def made(**changes: Any) -> dict[str, Any]:
            answer = kit.http.post("/v1/videos", json=asked | changes)
            assert answer.status_code == 200, answer.text
            return kit.ended(answer.json()["id"], 60)

        assert made()["status"] == "completed"
        child_limit = child.memory_info().vms + 1024 * MIB
        resource.prlimit(child.pid, resource.RLIMIT_AS, (child_limit, child_limit))
        taken = []
        for seed in range(4):
            failed = made(size="4096x4096", num_frames=1997)
            assert failed["error"]["code"] == "out_of_memory"
            assert "(7.81 GiB more were wanted, " in failed["error"]["message"]
            assert "kinokit up --model wan22 --profile swap-long" in failed["error"]["message"]
            assert made(seed=seed)["status"] == "completed"
            taken.append(child.memory_info().rss)
        # Threads' heaps differ by up to 70 MiB from round to round; one clip that is kept would be 8000.
        assert taken[3] < taken[1] + 256 * MIB
        assert kit.child(worker).pid == child.pid


def test_another_lora_strength_fills_the_blocks_where_they_are(t2v: wan.Tiny) -> None:
    """A card that holds both experts has no room for a third."""
    made = test_wan.engine(t2v, matmul="fp8")
    expert = made.experts._experts["high_noise"].model

    def places() -> list[int]:
        return [tensor.data_ptr() for tensor in (*expert.parameters(), *expert.buffers())]

    before, weights = places(), expert.blocks[0].attn1.to_q.codes.clone()
    made.sample(
        Values.of(test_wan.VALUES | {"lora_high_strength": 0.3}), None, test_wan.quiet, test_wan.never
    )
    assert places() == before
    assert not torch.equal(expert.blocks[0].attn1.to_q.codes.float(), weights.float())


def test_a_text_encoder_that_failed_is_loaded_again(t2v: wan.Tiny, tmp_path: Path) -> None:
    path = tmp_path / "text.safetensors"
    path.write_bytes(t2v.components["text_encoder"].read_bytes())
    config = wan.text_config()
    text = TextEncoder(path, None, config, torch.device("cpu"), "gpu", Loader(torch.device("cpu")), 48)
    wanted = text.encode("a cat walks")
    whole = path.read_bytes()
    path.write_bytes(whole[: 8 + int.from_bytes(whole[:8], "little")])  # the header alone
    with pytest.raises(Exception, match="is not a whole safetensors file"):
        text.encode("another prompt")
    path.write_bytes(whole)
    text._known.clear()
    assert torch.equal(text.encode("a cat walks"), wanted)


def test_prompts_are_remembered_at_their_own_length(tmp_path: Path) -> None:
    """Padded to 512 tokens of 4096 they took 8 MiB each: 145 MiB after twenty clips."""
    width = {"d_model": 4096, "num_layers": 1, "d_ff": 16, "d_kv": 8, "num_heads": 2}
    config = wan.text_config() | width
    model = UMT5EncoderModel(UMT5Config(**config)).eval().requires_grad_(False)
    path = tmp_path / "text.safetensors"
    wan.write_text_encoder(path, model, wan.vocabulary())
    text = TextEncoder(path, None, config, torch.device("cpu"), "cpu", Loader(torch.device("cpu")), 512)
    for number in range(20):
        assert text.encode(f"a cat walks {number}").shape == (1, 512, 4096)
    assert text.remembered_bytes < 10 * MIB
    for number in range(20):
        text.encode(f"{number} the camera follows a red kite over green hills " * 40)
    assert text.remembered_bytes <= 64 * MIB


@pytest.mark.slow
def test_the_memory_after_twelve_clips_is_that_after_two(t2v: wan.Tiny, tmp_path: Path) -> None:
    made = test_wan.engine(t2v)
    process = psutil.Process()
    taken = []
    for number in range(12):
        values = test_wan.VALUES | {"prompt": f"a cat walks {number}", "seed": number}
        tags = metadata.Metadata(model="tiny", kit_version="0", values=values)
        frames = made.generate(Values.of(values), None, test_wan.quiet, test_wan.never)
        encode.write(frames, tmp_path / "clip.mp4", fps=16, metadata=tags)
        gc.collect()
        taken.append(process.memory_info().rss)
    # The least of the last few: malloc gives the encoder's buffers back in its own time.
    assert min(taken[-4:]) - taken[1] < 24 * MIB
