"""Check the bases of a study from their files, before any network is built.

What a base's UNet predicts has a line of its own: a wrong guess would train noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tuner.errors import ConfigError, MissingModelError, TunerError
from tuner.models.checkpoint import check_checkpoint, read_checkpoint
from tuner.models.stored.hub import cached_folder, is_offline, not_cached
from tuner.models.stored.index import read_config
from tuner.models.stored.known import known_layout, layout_of
from tuner.models.stored.layout import check_folder, require_layers
from tuner.models.stored.prediction import (
    Prediction,
    chosen_prediction,
    require_alike,
    scheduler_prediction,
)
from tuner.space import StudyConfig
from tuner.space.base_name import ParsedBase, mannequin_weights, parse_base
from tuner.space.sizes import native_size


@dataclass(frozen=True)
class _Checked:
    """The source of a base, and what its files hold if they are here."""

    line: str
    prediction: Prediction | None = None
    layers: int | None = None


def base_lines(config: StudyConfig) -> str:
    """Return the lines about the study's base.

    Raises ConfigError or MissingModelError for a base, or a `clip_skip`, that cannot be used.
    """
    checked = _check(config.base, config.base_prediction)
    if checked.layers is not None:
        require_layers(config.base, checked.layers, config)
    return _lines(config.base, checked)


def other_base_lines(config: StudyConfig, base: str) -> str:
    """Return the lines about a base of `also_sample_on`.

    Raises ConfigError or MissingModelError for one that cannot be used, or not with the study's.
    """
    checked = _check(base, None)
    if checked.layers is not None:
        require_layers(f"{base} of also_sample_on", checked.layers, config)
    try:
        own = _check(config.base, config.base_prediction).prediction
    except TunerError:
        own = None  # reported by base_lines
    require_alike(base, checked.prediction, own)
    its, ours = known_layout(base), known_layout(config.base)
    if its and ours and its is not ours:
        raise ConfigError(
            f"also_sample_on {base}: it is a {its.name}, the study's base a {ours.name}, so no "
            "LoRA of the one fits the other; leave it out"
        )
    return f"also sampled on {_lines(base, checked)}"


def is_here(base: str) -> bool:
    """Return True if all files of `base` are on this machine."""
    parsed = parse_base(base)
    if parsed.kind == "mannequin" or parsed.path is not None:
        return True
    folder = cached_folder(parsed)
    try:
        return folder is not None and bool(check_folder(base, folder))
    except MissingModelError:
        return False


def _lines(base: str, checked: _Checked) -> str:
    if checked.prediction is None:
        return checked.line
    return f"{checked.line}\nbase {base} {checked.prediction}"


def _check(base: str, chosen: str | None) -> _Checked:
    parsed = parse_base(base)
    if parsed.kind == "mannequin":
        folder = mannequin_weights()
        layers = int(read_config(base, folder, "text_encoder")["num_hidden_layers"])
        own = scheduler_prediction(base, read_config(base, folder, "scheduler"))
        return _Checked("base mannequin: shipped", chosen_prediction(chosen) or own, layers)
    if parsed.path is None:
        return _of_hub(base, parsed, chosen)
    if parsed.kind == "file":
        file = read_checkpoint(parsed.path)
        prediction = file.prediction(chosen)
        check_checkpoint(base, file)
        return _Checked(f"base {base}: a single file", prediction, file.layers)
    size = native_size(str(parsed.path))
    return _of_folder(base, parsed.path, chosen, f"base {base}: a folder, {size} px")


def _of_folder(base: str, folder: Path, chosen: str | None, line: str) -> _Checked:
    checked = check_folder(base, folder)
    variant = f", its {checked.variant} files" if checked.variant else ""
    prediction = chosen_prediction(chosen) or scheduler_prediction(base, checked.scheduler)
    return _Checked(line + variant, prediction, checked.layers)


def _of_hub(base: str, parsed: ParsedBase, chosen: str | None) -> _Checked:
    folder = cached_folder(parsed)
    if folder is None and is_offline():
        raise not_cached(base)
    if folder is not None:
        try:
            return _of_folder(base, folder, chosen, f"base {base}: in the hub's cache")
        except MissingModelError:
            if is_offline():
                raise
    part = "the rest of it " if folder is not None else ""
    line = f"{part}will be downloaded from the hub, {layout_of(base).download}, at the first run"
    return _Checked(f"base {base}: {line}", chosen_prediction(chosen))
