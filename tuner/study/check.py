"""Check that a study can run on this machine, from files alone, and estimate its cost."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from metrics.contract import OPTIONAL_MODELS
from tuner.data import TrainingSet, apply_policy, read_folder
from tuner.data.inventory.summary import counts, remarks
from tuner.data.regularisation import with_regularisation
from tuner.errors import ConfigError, DiskError, MissingModelError, TunerError
from tuner.models.clip_tokenizer import longer
from tuner.models.stored.known import known_layout, layout_of
from tuner.space import StudyConfig, SuiteConfig
from tuner.space.config import OF_BASE, ORIGINALS, BudgetConfig
from tuner.space.parameters import Fixed
from tuner.space.sizes import native_size
from tuner.storage import shipped
from tuner.storage.folder import DEFAULT_STUDIES
from tuner.study.check_base import base_lines, other_base_lines
from tuner.study.check_judges import identity_line, judge_line, optional_line, person_line
from tuner.study.checks.settings import memory_line, setting_problems, short_lines, this_device
from tuner.study.cost import StudyCost, estimate, rough_units
from tuner.study.timed import TimedUnits, timed_units
from tuner.text import byte_size, counted, duration
from tuner.worker.compiling import compile_plan
from tuner.worker.count import planned_workers, read_machine


@dataclass(frozen=True)
class CheckReport:
    """Findings of a check, one line each, and the estimates of `tuner.study.cost`.

    `seconds` is for trials that all run to their last rung, `kept_seconds` for the case that only
    the share `budget.keep` goes on at each rung. `data_lines` are those about the pictures and
    captions; they are in `lines` too. `vram_bytes` is the memory that one worker needs, `timed` is
    true if steps were timed on this machine.
    """

    lines: tuple[str, ...]
    data_lines: tuple[str, ...]
    seconds: float
    kept_seconds: float
    disk_bytes: int
    vram_bytes: int
    workers: int
    timed: bool


def check_study(
    config: StudyConfig,
    studies: Path = DEFAULT_STUDIES,
    workers: int | None = None,
    timed: bool = False,
    elsewhere: bool = False,
) -> CheckReport:
    """Check everything that a study needs; its results would be written below `studies`.

    `workers` run it; None: as many as `auto_workers` says. With `timed` the
    time is estimated from steps that another process makes on the base; otherwise it is rough.
    With `elsewhere` the workers are on other machines: no GPU has to be here.
    Raises ConfigError with one line for each setting or folder that has to be corrected. If there
    is none, raises MissingModelError for models that are not on this machine and cannot be
    downloaded, then DiskError.
    """
    cost, device = estimate(config), None if elsewhere else this_device()
    lines = [_space_line(config)]
    problems = setting_problems(config, rough_units(config), device)
    errors: list[TunerError] = [*map(ConfigError, problems)]
    parts: list[Callable[[], str]] = [partial(base_lines, config)]
    parts += [partial(other_base_lines, config, base) for base in config.also_sample_on]
    lines += _lines(parts, errors)
    parts = [partial(_data_line, path) for path in config.data_folders.values()]
    parts += [partial(_prior_line, config)] if config.regularisation else []
    data_lines = _lines(parts, errors)
    lines += data_lines
    parts = [partial(_optimizer_line, config, elsewhere)]
    parts += [partial(line, config) for line in (judge_line, person_line, identity_line)]
    named = [name for name in OPTIONAL_MODELS if getattr(config.judges, name) is not None]
    parts += [partial(optional_line, config, name) for name in named]
    parts.append(partial(_disk_line, cost, studies))
    lines += _lines(parts, errors)
    for kind in (ConfigError, MissingModelError, DiskError):
        if messages := [str(error) for error in errors if isinstance(error, kind)]:
            raise kind("\n".join(messages))
    plan = planned_workers(workers, cost.vram_bytes, config.budget.trials)
    units = timed_units(config, plan.count) if timed else TimedUnits(None, "nothing was timed")
    if units.units is not None:
        cost = estimate(config, units.units, plan.count)
    compiling = compile_plan(config, read_machine().devices > 0, plan.count)
    lines += [plan.line, *filter(None, [compiling.line]), *_cost_lines(config, cost, units)]
    lines += short_lines(config, rough_units(config), device)
    lines += _hour_lines(config.budget, cost, plan.count)
    return CheckReport(
        tuple(lines),
        tuple(data_lines),
        cost.seconds,
        cost.kept_seconds,
        cost.disk_bytes,
        cost.vram_bytes,
        plan.count,
        units.units is not None,
    )


def cut_captions(data: TrainingSet) -> dict[Path, int]:
    """Return the pictures whose caption is longer than training reads, with its tokens.

    They are counted with the vocabulary of Stable Diffusion's text encoders.
    """
    images = (*data.images, *data.held_out)
    return longer({image.path: apply_policy(image.caption, "all") for image in images})


def _lines(parts: Sequence[Callable[[], str]], errors: list[TunerError]) -> list[str]:
    """Return the lines of all `parts`; what they raise is added to `errors`."""
    lines: list[str] = []
    for part in parts:
        try:
            lines += part().split("\n")
        except TunerError as error:
            errors.append(error)
    return lines


def _space_line(config: StudyConfig) -> str:
    searched = [name for name, value in config.train.items() if not isinstance(value, Fixed)]
    suite = config.suite
    first = len(config.start_from)
    starts = f"; {counted(first, 'starting point')} first" if first else ""
    plan = f"searches {', '.join(searched) or 'nothing'}{starts}"
    if config.recipes:
        seeds = ", ".join(map(str, config.training_seeds))
        plan = f"{counted(len(config.recipes), 'recipe')} with the training seeds {seeds}"
    return (
        f"study {config.study}: {counted(config.budget.trials, 'trial')} scored at steps "
        f"{', '.join(map(str, config.budget.rungs))}; {plan}; suite "
        f"{suite.name}: {counted(len(suite.prompts), 'prompt')} x {counted(suite.seeds, 'seed')} = "
        f"{counted(suite.samples, 'sample')}" + _cut_prompts(suite)
    )


def _cut_prompts(suite: SuiteConfig) -> str:
    cut = longer({index: prompt.text for index, prompt in enumerate(suite.prompts)})
    longer_than = "longer than the text encoder reads"
    return f"; {longer_than}: {counted(len(cut), 'prompt')}" if cut else ""


def _data_line(folder: str) -> str:
    if shipped.data_variant(folder) is not None:
        return f"data {folder}: drawn at the first run"
    data = read_folder(Path(folder))
    return "\n".join([f"data {folder}: {counts(data)}", *_remarks(data)])


def _remarks(data: TrainingSet) -> list[str]:
    return [f"  {line}" for line in remarks(data, cut_captions(data))]


def _prior_line(config: StudyConfig) -> str:
    prior = str(config.regularisation)
    if prior == OF_BASE:
        return "regularisation: pictures of the base, drawn at the first run"
    if shipped.data_variant(prior) is not None:
        return f"regularisation {prior}: drawn at the first run"
    own = [folder for folder in config.data_folders.values() if not _is_drawn(folder)]
    if prior == ORIGINALS and len(own) < len(config.data_folders):
        raise ConfigError(
            "regularisation originals: the mannequin's data have none; use `regularisation: base`"
        )
    place = None if prior == ORIGINALS else Path(prior)
    if place is not None and not own:
        only = read_folder(place)
        return "\n".join([f"regularisation {prior}: {counts(only)}", *_remarks(only)])
    sets = [with_regularisation(read_folder(Path(folder)), place) for folder in own]
    priors = [data.regularisation for data in sets if data.regularisation]
    numbers = ", ".join(counted(len(each.images), "picture") for each in priors)
    line = f"regularisation {prior}: {numbers}"
    below = [line for each in priors for line in _remarks(each)]
    return "\n".join([line, *dict.fromkeys(below)])


def _is_drawn(folder: str) -> bool:
    return shipped.data_variant(folder) is not None


def _optimizer_line(config: StudyConfig, elsewhere: bool) -> str:
    """Check the optimizers without torch, which takes seconds to import; the run checks again."""
    names = list(map(str, config.tried("optimizer")))
    if "adamw8bit" in names and not elsewhere:
        if shutil.which("nvidia-smi") is None:
            raise ConfigError("optimizer adamw8bit needs an NVIDIA GPU, none was found; use adamw")
        if importlib.util.find_spec("bitsandbytes") is None:
            raise ConfigError(
                "optimizer adamw8bit needs bitsandbytes: pip install 'tuner[8bit]', or use adamw"
            )
    return f"optimizer: {', '.join(names)}"


def _disk_line(cost: StudyCost, studies: Path) -> str:
    place = studies.absolute()
    while not os.path.exists(place):
        place = place.parent
    if not os.path.isdir(place):
        raise ConfigError(f"{studies}: {place} is a file; give another folder with --studies")
    if not os.access(place, os.W_OK | os.X_OK):
        raise DiskError(f"{studies}: cannot be written to: {place} is not a writable folder")
    free = shutil.disk_usage(place).free
    if free < cost.disk_bytes:
        raise DiskError(
            f"{studies}: {byte_size(free)} free, the study needs about "
            f"{byte_size(cost.disk_bytes)}; free some, or give another folder with --studies"
        )
    return f"disk: about {byte_size(cost.disk_bytes)} of {byte_size(free)} free"


def _cost_lines(config: StudyConfig, cost: StudyCost, timed: TimedUnits) -> list[str]:
    small = native_size(config.base) <= 128
    where = "on two processor cores" if small else "on one consumer GPU"
    source = f", {timed.note}" if timed.units else f" {where}; a rough guess, {timed.note}"
    lines = [
        f"time: at most about {duration(cost.seconds)}{source}",
        *_rung_lines(config, cost),
        memory_line(config, rough_units(config), small),
    ]
    if known_layout(config.base) is None:
        name = layout_of(config.base).name
        lines.append(f"the base is not here: time, disk and memory are those of {name}")
    if not small and not timed.units and shutil.which("nvidia-smi") is None:
        lines.append("no NVIDIA GPU was found; on a CPU this takes about 100 times as long")
    return lines


def _rung_lines(config: StudyConfig, cost: StudyCost) -> list[str]:
    keep = config.budget.keep
    if keep == 1:
        return []
    if len(config.budget.rungs) == 1:
        return [f"rungs: keep {keep:g} stops no trial, there is no rung below the last"]
    return [
        f"rungs: about {duration(cost.kept_seconds)} if only the share {keep:g} goes on at each "
        f"rung below the last ({', '.join(map(str, config.budget.rungs[:-1]))})"
    ]


def _hour_lines(budget: BudgetConfig, cost: StudyCost, workers: int) -> list[str]:
    """Say how much of the study fits into a limit of hours, for each that is too short for all."""
    limits = {"hours": (budget.hours, 1), "gpu_hours": (budget.gpu_hours, workers)}
    lines = []
    for name, (hours, at_once) in limits.items():
        share = 3600 * hours / (cost.kept_seconds * at_once) if hours is not None else 1.0
        if share < 1:
            fit = max(1, round(share * budget.trials))
            lines.append(
                f"{name}: {hours:g} are fewer than that; about {fit} of the {budget.trials} trials "
                "fit, then the study ends"
            )
    return lines
