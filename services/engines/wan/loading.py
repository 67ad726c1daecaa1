"""Loads a model: each part as soon as its files are there."""

from __future__ import annotations

from pathlib import Path

import torch

from bootstrap.choose.plan import Plan
from services.engines.base import Report, Stage, Start
from services.engines.start.files import Arriving
from services.engines.wan import checks, component_configs
from services.engines.wan.engine import TEXT, VAE, WanEngine
from services.engines.weights.loader import Loader


def load(plan: Plan, start: Start) -> WanEngine:
    """Each part as soon as its files are there; what is there is checked before anything big is read."""
    arriving = Arriving(plan.arrivals, start)
    if plan.config is not None:
        arriving.wait(Path(plan.config))
    configs = component_configs.configs(plan.config)
    shape, codec = configs["transformer"], configs["vae"]
    two_experts = configs["index"].get("boundary_ratio") is not None
    checks.check(plan.components, shape["in_channels"], codec["z_dim"], two_experts=two_experts)
    loader = Loader(torch.device(plan.device), spans=start.spans)
    engine = WanEngine(plan, configs, component_configs.vocabulary(plan.components, arriving), loader)
    sizes = {part: sum(map(arriving.nbytes, files)) for part, files in engine.parts.items()}
    arrived: list[str] = []
    for batch in arriving.batches(engine.parts):
        done, share = (sum(sizes[part] for part in group) for group in (arrived, batch))
        arrived += batch
        there = {file for part in arrived for file in engine.parts[part]}
        checks.check_contents({role: file for role, file in plan.components.items() if file in there})
        engine.open(batch)
        if plan.device == "cuda" and VAE in batch:
            start.background.do("prepare the decoder", lambda: engine.warm_up_decoding(plan.defaults))
        engine.warm(_within(start.report, done, share, sum(sizes.values())))
        if plan.device == "cuda" and TEXT in batch:
            start.background.do("prepare the text encoder", engine.text.warm_up)
        start.report("load", done + share, sum(sizes.values()))
    return engine


def _within(report: Report, before: int, share: int, total: int) -> Report:
    """The progress of some parts as that of all; the counts are bytes of files."""

    def scaled(stage: Stage, done: int, of: int) -> None:
        report(stage, before + (share * done // of if of else 0), total)

    return scaled
