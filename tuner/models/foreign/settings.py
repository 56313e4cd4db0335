"""Settings of peft beside a LoRA: ranks and alphas that its tensors do not say."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tuner.models.foreign.names import Key
from tuner.models.lora_file import LoraFileError
from tuner.models.metadata import adapter_settings

_FILE = "adapter_config.json"
_IN_HEADER = "lora_adapter_metadata"
_COMPONENTS = {"unet": "unet", "te": "text_encoder", "te2": "text_encoder_2"}
_SCALED = ("down", "hada_w1_b", "lokr_w1_b", "lokr_w2_b")
"""Parts that have the rank as their first axis; only one of a layer is needed."""
_METHODS = ("LORA", "LOHA", "LOKR")


@dataclass(frozen=True)
class Settings:
    """Settings by component of the pipeline, as peft writes them; empty: none were found."""

    parts: Mapping[str, Mapping[str, Any]]

    def alpha(self, key: Key, tensor: torch.Tensor) -> float | None:
        """Return the alpha of a layer, for its `key` and a tensor of it; None if nothing says it.

        rsLoRA's strength is in it: it divides by the root of the rank.
        """
        alpha = self._alpha(key)
        if alpha is None or key.part not in _SCALED or not tensor.ndim:
            return None
        own = self._of(key) or {}
        return alpha * int(tensor.shape[0]) ** 0.5 if own.get("use_rslora") is True else alpha

    def ratio(self, key: Key) -> float | None:
        """Return alpha divided by the rank that the settings name; None if nothing says it."""
        alpha, own = self._alpha(key), self._of(key)
        if alpha is None or own is None or key.dotted is None:
            return None
        rank = _by_pattern(own.get("rank_pattern"), key.dotted, own.get("r"))
        return alpha / rank if isinstance(rank, int) and rank > 0 else None

    def _alpha(self, key: Key) -> float | None:
        own = self._of(key)
        if own is None or key.dotted is None:
            return None
        name = "lora_alpha" if "lora_alpha" in own else "alpha"
        alpha = _by_pattern(own.get("alpha_pattern"), key.dotted, own.get(name))
        if not isinstance(alpha, int | float) or isinstance(alpha, bool):
            return None
        return float(alpha)

    def notes(self, keys: Sequence[Key]) -> Iterator[str]:
        """Yield what to know where a file of peft has no settings."""
        peft = any(key.layout == "peft" for key in keys)
        if peft and not self.parts and not any(key.part == "alpha" for key in keys):
            yield (
                f"no {_FILE} beside it and no alpha in it: alpha is taken to be the rank, as "
                "diffusers does"
            )

    def _of(self, key: Key) -> Mapping[str, Any] | None:
        return self.parts.get(_COMPONENTS.get(key.component, key.component), self.parts.get(""))


def read_settings(
    path: Path, files: Sequence[tuple[str, Path]], metadata: Mapping[str, str]
) -> Settings:
    """Return the settings beside the files of a LoRA, else those in its header.

    Raises LoraFileError for settings that are no JSON, and for methods of peft that are not read.
    """
    parts: dict[str, Mapping[str, Any]] = {}
    for start, file in files:
        beside = file.with_name(_FILE)
        if file.name.startswith("adapter_model") and beside.is_file():
            parts[start.removesuffix(".")] = _read(path, beside)
    if parts:
        return Settings(parts)
    if (own := adapter_settings(metadata.get(_IN_HEADER, "{}"))) is None:
        raise LoraFileError(f"{path.name}: {_IN_HEADER} in its header is no JSON of settings")
    for component in _COMPONENTS.values():
        start = f"{component}."
        if found := {k.removeprefix(start): v for k, v in own.items() if k.startswith(start)}:
            parts[component] = found
    return Settings(parts)


def _read(path: Path, file: Path) -> Mapping[str, Any]:
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise LoraFileError(f"{path.name}: {_FILE} beside it is no readable JSON") from error
    if not isinstance(settings, dict):
        raise LoraFileError(f"{path.name}: {_FILE} beside it is no JSON of settings")
    method = settings.get("peft_type", "LORA")
    if method not in _METHODS:
        raise LoraFileError(
            f"{path.name} is a {method} of peft; read are {', '.join(_METHODS)}: merge it into its "
            "base and give that with --as-base"
        )
    return settings


def _by_pattern(pattern: object, name: str, default: object) -> object:
    """Return the value for a layer: peft takes the pattern that ends its name."""
    if isinstance(pattern, dict):
        for ending, value in pattern.items():
            if name == ending or name.endswith(f".{ending}"):
                return value
    return default
