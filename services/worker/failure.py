"""What becomes of an exception in the GPU child: the job's error, or the reason why nothing can be made."""

from __future__ import annotations

import errno
import logging
import secrets

from bootstrap.choose.plan import Plan
from bootstrap.errors import KitError
from services.engines.base import OutOfMemory, is_out_of_memory
from services.worker.protocol import DISK_FULL, Failed, LoadFailed

log = logging.getLogger("kinokit.child")

GIB = 1024**3


def of_job(plan: Plan, error: Exception) -> Failed:
    """What a user can act on in full; a bug by the number under which the log has it."""
    if _is_memory(error):
        log.error("out of memory: %s", error)
        return Failed(code="out_of_memory", message=_out_of_memory(plan, error))
    if _is_full_disk(error):
        log.error("%s", error)
        return Failed(code=DISK_FULL, message=str(error))
    if isinstance(error, KitError):
        log.error("%s", error)
        return Failed(code="generation_failed", message=f"{error.problem}; {error.fix}")
    number = secrets.token_hex(4)
    log.error("error %s", number, exc_info=error)
    text = f"making the clip failed with a bug of the kit ({type(error).__name__}, error {number} in the log)"
    return Failed(code="generation_failed", message=text, error_id=number)


def of_load(plan: Plan, error: Exception) -> LoadFailed:
    if isinstance(error, KitError):
        return LoadFailed(problem=error.problem, fix=error.fix)
    if _is_memory(error):
        return LoadFailed(problem=f"{plan.model} could not be loaded: {error}", fix=_smaller(plan))
    return LoadFailed(
        problem=f"{plan.model} could not be loaded: {type(error).__name__}: {error}"[:500],
        fix="the traceback is in the worker's log: kinokit logs --worker",
    )


def is_fault(error: Exception) -> bool:
    """The GPU's context is broken: only a new process can use it."""
    return type(error).__name__ == "AcceleratorError" or str(error).startswith("CUDA error")


def _is_full_disk(error: BaseException | None) -> bool:
    """It, or what it was made from."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    return error is not None and _is_full_disk(error.__cause__)


def _is_memory(error: Exception) -> bool:
    return isinstance(error, OutOfMemory) or is_out_of_memory(error)


def _out_of_memory(plan: Plan, error: Exception) -> str:
    numbers = ""
    if isinstance(error, OutOfMemory):
        wanted = f"{error.wanted_bytes / GIB:.2f} GiB more were wanted, " if error.wanted_bytes else ""
        numbers = f" ({wanted}{error.peak_bytes / GIB:.1f} of {error.total_bytes / GIB:.1f} GiB were in use)"
    advice = f"ask for a smaller size or fewer frames, or {_smaller(plan)}"
    whose = "GPU" if plan.device == "cuda" else "machine"
    return f"the {whose}'s memory did not suffice{numbers}; {advice}"


def _smaller(plan: Plan) -> str:
    """Advice: less memory for this model, or more memory."""
    if plan.smaller_profile is None:
        return f"rent a {'GPU' if plan.device == 'cuda' else 'machine'} with more memory"
    return f"start the smaller profile: kinokit up --model {plan.model} --profile {plan.smaller_profile}"
