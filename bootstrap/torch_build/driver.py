"""The newest CUDA that the driver runs, and its cards: from libcuda itself, not from the text of a tool."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from pathlib import Path

from bootstrap.torch_build.builds import Version

# In Windows' WSL2 the driver's libraries lie where the loader does not always look. It has no /dev/nvidiactl.
WSL_FOLDER = Path("/usr/lib/wsl/lib")
CAPABILITY_MAJOR, CAPABILITY_MINOR = 75, 76  # CUdevice_attribute


def version(libraries: Sequence[str] | None = None) -> Version | None:
    """``(13, 0)``, or None when there is no driver. Needs no GPU context, costs no GPU memory."""
    library = _load(libraries)
    number = ctypes.c_int(0)
    try:
        if library is None or library.cuDriverGetVersion(ctypes.byref(number)) != 0 or number.value <= 0:
            return None
    except AttributeError:
        return None
    return number.value // 1000, number.value % 1000 // 10


def cards(libraries: Sequence[str] | None = None) -> tuple[Version, ...]:
    """Compute capabilities of the cards that this process may use; empty when there is none, or no driver."""
    library = _load(libraries)
    count = ctypes.c_int(0)
    try:
        if library is None or library.cuInit(0) != 0 or library.cuDeviceGetCount(ctypes.byref(count)) != 0:
            return ()
        return tuple(_capability(library, number) for number in range(count.value))
    except AttributeError:
        return ()


def _capability(library: ctypes.CDLL, number: int) -> Version:
    device, major, minor = ctypes.c_int(0), ctypes.c_int(0), ctypes.c_int(0)
    library.cuDeviceGet(ctypes.byref(device), number)
    library.cuDeviceGetAttribute(ctypes.byref(major), CAPABILITY_MAJOR, device)
    library.cuDeviceGetAttribute(ctypes.byref(minor), CAPABILITY_MINOR, device)
    return major.value, minor.value


def load_from_wsl(name: str, folder: Path = WSL_FOLDER) -> bool:
    """Load a library of the driver where WSL2 keeps it: whoever asks for it by name finds it then."""
    try:
        ctypes.CDLL(str(folder / name), mode=ctypes.RTLD_GLOBAL)
    except OSError:
        return False
    return True


def library_path(env: Mapping[str, str], folder: Path = WSL_FOLDER) -> dict[str, str]:
    """LD_LIBRARY_PATH for a process that uses the GPU; nothing where the loader finds the driver itself."""
    if _load(("libcuda.so.1",)) is not None or not (folder / "libcuda.so.1").exists():
        return {}
    known = env.get("LD_LIBRARY_PATH")
    return {"LD_LIBRARY_PATH": f"{folder}:{known}" if known else str(folder)}


def _load(libraries: Sequence[str] | None) -> ctypes.CDLL | None:
    for name in libraries or ("libcuda.so.1", str(WSL_FOLDER / "libcuda.so.1")):
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None
