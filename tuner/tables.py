"""The tables of results.db: each column with its type, and the key."""

from __future__ import annotations

from typing import Any

_CELL: dict[str, Any] = {"trial": int, "step": int, "cell": int}
TABLES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "studies": (
        {"name": str, "base": str, "space_hash": str, "budget": int, "objectives": str,
         "constraints": str, "versions": str, "begun": str, "side": int, "models": str},
        ("name",),
    ),
    "trials": (
        {"number": int, "state": str, "reason": str, "parameters": str, "retry_of": int,
         "begun": str, "seconds": float},
        ("number",),
    ),
    "rungs": (
        {"trial": int, "step": int, "objectives": str, "rates": str, "lora": str, "grid": str,
         "seeds": int},
        ("trial", "step"),
    ),
    "samples": (
        _CELL | {"prompt": str, "sex": str, "framing": str, "names_clothes": int, "seed": int,
                 "path": str},
        ("trial", "step", "cell"),
    ),
    "scores": (
        _CELL | {"judge": str, "value": float, "reason": str, "evidence": str, "version": str},
        ("trial", "step", "cell", "judge"),
    ),
    "measures": (
        {"trial": int, "step": int, "name": str, "value": float, "low": float, "high": float,
         "n": int, "total": int, "note": str},
        ("trial", "step", "name"),
    ),
    "features": (
        _CELL | {"framing": str, "thumbnail": bytes, "box": bytes, "joints": bytes,
                 "embedding": bytes},
        ("trial", "step", "cell"),
    ),
    "events": (
        {"id": int, "trial": int, "phase": str, "begun": str, "seconds": float},
        ("id",),
    ),
}  # fmt: skip
