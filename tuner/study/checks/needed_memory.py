"""The memory that the trials of a study need, and the settings that need less.

By simple formulas over the bytes of a base's parts (`UnitCost`), as the seconds of
`tuner.study.cost`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

from tuner.models.stored.families import UnitCost
from tuner.space import StudyConfig
from tuner.space.parameters import Fixed, Value
from tuner.space.sizes import as_text, native_size, parse_size

_TRAINED = {"adamw": 16, "adamw8bit": 10, "lion": 12, "prodigy": 24}
"""Bytes to train one number with each optimizer: the number itself and its gradient in float32,
and what the optimizer keeps of it (two moments, two of 8 bits, one, two and two more numbers)."""

_CHECKPOINTED = 0.2
"""Share of the activations that gradient checkpointing keeps, rounded up: with it eight pictures of
Stable Diffusion XL at 1024 px were trained on 24 GB (bmaltais/kohya_ss#1288)."""

_USABLE = 0.9
"""Share of a GPU's memory that a study is planned for: the rest is the screen's and fragments."""


def trained_weights(config: StudyConfig, cost: UnitCost) -> float:
    """Return the number of whole weights that DreamBooth trains."""
    text = cost.text_whole if _trains_text(config) else 0
    return (cost.whole + text) / 2


def needed_bytes(config: StudyConfig, cost: UnitCost, checkpointed: bool = False) -> int:
    """Return the memory that the largest trial needs; its settings may not meet in any one trial.

    With `checkpointed` gradient checkpointing counts as on where the study leaves it open, as the
    run turns it on where memory is short.
    """
    native = native_size(config.base) ** 2
    sizes = [parse_size(value) for value in config.tried("resolution")]
    pictures = _most(config, "batch_size") * max(map(_area, sizes)) / native
    kinds = config.tried("gradient_checkpointing")
    saves = False not in kinds and (checkpointed or None not in kinds)
    activations = pictures * cost.picture * (_CHECKPOINTED if saves else 1.0)
    numbers = 0.0
    if "lora" in config.tried("method"):
        wider = max(cost.targets[str(value)] for value in config.tried("target_modules"))
        text = cost.text_lora if _trains_text(config) else 0
        numbers = _most(config, "rank") * (cost.lora * wider + text) / 2
    if "dreambooth" in config.tried("method"):
        numbers = max(numbers, trained_weights(config, cost))
    trained = numbers * max(_TRAINED[str(name)] for name in config.tried("optimizer"))
    drawn = cost.drawn * _area(config.suite.image_size) / native
    return int(cost.resident + max(activations + trained, drawn))


def fits(needed: int, have: int) -> bool:
    """Return True if a study that needs `needed` bytes runs on a GPU of `have` bytes."""
    return needed <= have * _USABLE


def smaller(config: StudyConfig, cost: UnitCost, have: int) -> tuple[dict[str, Value], int]:
    """Return settings by their key with which the study fits a GPU of `have` bytes, and its need.

    They are the first ones, in a fixed order, that are enough, without those that it fits without;
    none if it fits as it is. If all together are not enough, the need is still too much.
    """

    def need(changes: Sequence[Mapping[str, Value]]) -> int:
        changed = functools.reduce(_changed, changes, config)
        return needed_bytes(changed, cost, checkpointed=True)

    chosen: list[Mapping[str, Value]] = []
    for change in _less(config):
        if fits(need(chosen), have):
            break
        chosen.append(change)
    for change in reversed(chosen):
        others = [each for each in chosen if each is not change]
        if fits(need(others), have):
            chosen = others
    settings = {key: value for change in chosen for key, value in change.items()}
    new = {key: value for key, value in settings.items() if not _has(config, key, value)}
    return new, need(chosen)


def _less(config: StudyConfig) -> Sequence[Mapping[str, Value]]:
    """Return settings that need less memory; what costs least of the result comes first."""
    side = native_size(config.base) * 3 // 4 // 64 * 64
    width, height = (each * 3 // 4 // 8 * 8 for each in config.suite.image_size)
    size: int | str = width if width == height else as_text((width, height))
    second = None if config.tried("text_encoder_2_ratio") == (None,) else 0.0
    return (
        {"train.gradient_checkpointing": True},
        {"train.batch_size": 1},
        {"train.optimizer": "adamw8bit"},
        {"train.text_encoder_ratio": 0.0, "train.text_encoder_2_ratio": second},
        {"train.resolution": side},
        {"suite.size": size},
    )


def _has(config: StudyConfig, key: str, value: Value) -> bool:
    """Return True if every trial has this value already."""
    return key.startswith("train.") and config.tried(key.removeprefix("train.")) == (value,)


def _changed(config: StudyConfig, change: Mapping[str, Value]) -> StudyConfig:
    train = {key.removeprefix("train."): Fixed(value) for key, value in change.items()}
    if "suite.size" in change:
        suite = config.suite.model_copy(update={"size": change["suite.size"]})
        return config.model_copy(update={"suite": suite})
    return config.model_copy(update={"train": config.train | train})


def _trains_text(config: StudyConfig) -> bool:
    names = ("text_encoder_ratio", "text_encoder_2_ratio")
    return any(_most(config, name) > 0 for name in names)


def _most(config: StudyConfig, name: str) -> float:
    values = config.tried(name)
    return max(float(value) if isinstance(value, int | float) else 0.0 for value in values)


def _area(size: tuple[int, int]) -> float:
    return float(size[0] * size[1])
