"""What this machine's GPUs are doing at the moment, as far as the driver says."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Reading:
    """``busy`` is 0 to 1; None: the driver does not say."""

    index: int
    name: str
    memory_used_bytes: int | None
    memory_total_bytes: int | None
    temperature_celsius: float | None
    busy: float | None
    power_watts: float | None


def read() -> list[Reading]:
    """One for each GPU; none where there is no driver. It may take a moment: never on the event loop."""
    import pynvml  # most fronts are never asked

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        return [_one(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:
        return []
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _one(nvml: Any, index: int) -> Reading:
    device = nvml.nvmlDeviceGetHandleByIndex(index)

    def known(question: Callable[[], Any]) -> Any:
        try:
            return question()
        except nvml.NVMLError:  # cards and drivers differ in what they tell
            return None

    memory = known(lambda: nvml.nvmlDeviceGetMemoryInfo(device))
    name = known(lambda: nvml.nvmlDeviceGetName(device))
    milliwatts = known(lambda: nvml.nvmlDeviceGetPowerUsage(device))
    use = known(lambda: nvml.nvmlDeviceGetUtilizationRates(device))
    return Reading(
        index=index,
        name=name.decode() if isinstance(name, bytes) else str(name or ""),
        memory_used_bytes=memory and int(memory.used),
        memory_total_bytes=memory and int(memory.total),
        temperature_celsius=known(lambda: nvml.nvmlDeviceGetTemperature(device, nvml.NVML_TEMPERATURE_GPU)),
        busy=None if use is None else use.gpu / 100,
        power_watts=None if milliwatts is None else milliwatts / 1000,
    )
