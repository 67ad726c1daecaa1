"""How a rented box gets the token of a gated model: never more than the model needs, and never unasked.

A stranger's machine reads what stands in its order. Marketplaces keep secrets of an account, and the boot
page asks for the token where nothing else gave one.
"""

from __future__ import annotations

from bootstrap.choose.manifest import Manifest

# What a platform replaces with the account's own secret; it stays as it is where there is none.
REFERENCES = {"runpod": "{{ RUNPOD_SECRET_HF_TOKEN }}"}
BY_ACCOUNT = {
    "runpod": "HF_TOKEN comes from the secret of that name in your RunPod account (Secrets)",
    "vast": "keep HF_TOKEN among the environment variables of your Vast account, not in a template",
}


def token(manifest: Manifest, given: str | None, platform: str) -> str | None:
    """The value of HF_TOKEN in an order; None for a model that needs none."""
    if not manifest.licence.gated:
        return None
    return given or REFERENCES.get(platform)


def notes(manifest: Manifest, given: str | None, platform: str) -> tuple[str, ...]:
    """What whoever rents should know; nothing for a model that needs no token."""
    if not manifest.licence.gated:
        return (f"{manifest.name} needs no token: yours stays on this machine",) if given else ()
    accept = f"{manifest.name} is gated: accept its licence at {manifest.licence.accept_url}"
    if given:
        risk = "whoever owns the rented machine can read the token that you gave"
        return (accept, f"{risk}; make a new one afterwards, or leave --hf-token out")
    found = BY_ACCOUNT.get(platform)
    asked = "the boot page asks for the token"
    return (accept, f"{found}; without it {asked}" if found else asked)
