"""What a card can do, by its name: for marketplaces that list names alone.

A card that is too old is rented in vain: it shows at the boot, when an hour is begun.
"""

from __future__ import annotations

import re

# NVIDIA's compute capabilities by family. The first pattern that is found in the name decides.
CAPABILITIES = (
    (r"\bRTX PRO [2-6]\d00\b|\bRTX 50[5-9]0", 12.0),
    (r"\bB300\b", 10.3),
    (r"\bG?B200\b", 10.0),
    (r"\bG?H[12]00|\bH20\b|\bH800\b", 9.0),
    (r"\bL40S?\b|\bL4\b|\bL20\b|\bRTX 40\d0|\bADA\b", 8.9),
    (r"\bA100|\bA30\b|\bA800\b|\bCMP 170HX\b", 8.0),
    (r"\bRTX 30\d0|\bA40\b|\bA10G?\b|\bA16\b|\bA[2-6]000\b|\bA4500\b|\bA5500\b|\bCMP 90HX\b", 8.6),
    (r"\bRTX 20\d0|\bGTX 16\d0|\bT4G?\b|\bQUADRO RTX\b|\bTITAN RTX\b|\bRTX [4568]000\b", 7.5),
    (r"\bV100|\bTITAN V\b", 7.0),
    (r"\bP100\b", 6.0),
    (r"\bGTX 10\d0|\bP40\b|\bP4\b|\bP10[246]|\bTITAN XP?\b|\bP[2456]000\b", 6.1),
    (r"\bM40\b|\bM60\b|\bGTX 9\d0", 5.2),
    (r"\bK80\b", 3.7),
)
OTHER_MAKERS = r"\bMI\d{2,3}X?\b|\bRADEON\b|\bINSTINCT\b|\bAMD\b|\bINTEL\b|\bRX \d{3,4}\b|\bGAUDI\b"
NO_CUDA = 0.0


def capability(name: str) -> float | None:
    """8.9 for "NVIDIA GeForce RTX 4090"; NO_CUDA for another maker's; None for a card that is not known."""
    words = name.upper().replace("_", " ").replace("-", " ")
    if re.search(OTHER_MAKERS, words):
        return NO_CUDA
    for pattern, found in CAPABILITIES:
        if re.search(pattern, words):
            return found
    return None
