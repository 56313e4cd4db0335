"""Which number formats a device computes in by itself."""

from __future__ import annotations

from typing import Any

import torch


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether products of bfloat16 are quicker there than those of float32.

    A CPU with instructions for them trains half as fast again with it; on any other each product
    is converted there and back, and a step can take twenty times as long. torch before 2.10 does
    not tell what a CPU has.
    """
    if device.type == "cpu":
        told: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        return bool(told.get("avx512_bf16") or told.get("amx_bf16"))
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
