"""Sample a trial beside the suite: on further bases, at further sizes, with its alias.

Each of them is judged and held against the same base, at the same size and with the same words,
without LoRA. What is found is told and never optimised: it goes to tables of its own.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import metrics
from metrics.contract import ScoredSample
from tuner.errors import ConfigError, DivergedError, OutOfMemoryError, TunerError
from tuner.events import Event, Phase
from tuner.models import BaseModel, load_base
from tuner.models.memory_errors import naming_memory_errors
from tuner.models.sampling import drawn
from tuner.space import StudyConfig, SuiteConfig, TrainConfig
from tuner.space.sizes import as_text, parse_size
from tuner.space.suite import TRAIN_SIZE
from tuner.storage import Store, StudyFolder
from tuner.storage.extra_rows import Extra, ExtraRow
from tuner.storage.folder import RungFolder
from tuner.storage.rows import RungRow, without_pixels
from tuner.trial.alias_leak import with_alias
from tuner.trial.keep import keep
from tuner.trial.outcomes import ExtraFound
from tuner.trial.workbench import Workbench, look_at


@dataclass(frozen=True)
class RungPlace:
    """The trained file and the folder of a trial's rung; the base has no trial and no file."""

    trial: int | None
    step: int
    trained: Path | None
    folder: RungFolder


@dataclass(frozen=True)
class Extras:
    """What a study asks for beside its suite; `of_base` has the base's samples, growing.

    They are empty where the base could not be sampled; the next run tries it again.
    """

    config: StudyConfig
    folder: StudyFolder
    of_base: dict[Extra, Sequence[ScoredSample]] = field(default_factory=dict)

    def known(self) -> list[Extra]:
        """Those that do not depend on a trial."""
        suite = self.config.suite
        sizes = [one for one in suite.also_at if one != TRAIN_SIZE]
        return self._distinct(sizes, None)

    def asked(self, train: TrainConfig) -> list[Extra]:
        """Those of a trial."""
        suite = self.config.suite
        sizes = [train.resolution if one == TRAIN_SIZE else one for one in suite.also_at]
        return self._distinct(sizes, train.alias if suite.also_with_alias else None)

    def _distinct(self, sizes: Sequence[int | str], alias: str | None) -> list[Extra]:
        base, own = self.config.base, as_text(self.config.suite.image_size)
        found = [Extra(base, as_text(parse_size(size))) for size in sizes]
        found += [Extra(other, own) for other in self.config.also_sample_on]
        found += [Extra(base, own, alias)] if alias else []
        return [one for one in dict.fromkeys(found) if one != Extra(base, own)]


def extras_of(config: StudyConfig, folder: StudyFolder, store: Store) -> Extras:
    """The study's extras, with what of the base was sampled in earlier runs."""
    extras = Extras(config, folder)
    for row in store.extras():
        if row.rung.trial is None and row.reason is None:
            extras.of_base[row.extra] = [one.scored() for one in store.extra_samples(row)]
    return extras


def sample_bases(bench: Workbench, extras: Extras) -> Iterator[Event | ExtraFound]:
    """Sample the base under every extra that is known before a trial, where it was not yet.

    Raises MissingModelError for a further base that is not there, ConfigError for one of another
    architecture than the study's.
    """
    for extra in extras.known():
        if extra not in extras.of_base:
            yield Phase("base")
            yield from _of_base(bench, extras, extra)


def sample_extras(
    bench: Workbench, extras: Extras, number: int, train: TrainConfig, last: tuple[int, RungFolder]
) -> Iterator[Event | ExtraFound]:
    """Sample the last rung of trial `number` under each of its extras.

    `last` is that rung's step and folder. What cannot be drawn (memory, pictures that are no
    numbers, a LoRA that does not fit the other base) becomes a row with the reason: no extra
    changes how a trial ends.
    """
    step, folder = last
    place = RungPlace(number, step, folder.trained(train.method), folder)
    for extra in extras.asked(train):
        yield Phase("sample", number)
        if extra.base != bench.base.name and train.method != "lora":
            why = "DreamBooth's weights take the place of the base's: there is nothing to add to"
            yield _missing(extra, place, why)
            continue
        if extra not in extras.of_base:
            yield from _of_base(bench, extras, extra)
        before = extras.of_base[extra] or None
        yield from _held_against(bench, extra, place, before)


def _of_base(bench: Workbench, extras: Extras, extra: Extra) -> Iterator[Event | ExtraFound]:
    folder = RungFolder(extras.folder.base)
    for outcome in _held_against(bench, extra, RungPlace(None, 0, None, folder), None):
        if isinstance(outcome, ExtraFound):
            extras.of_base[extra] = outcome.scored
        yield outcome


def _held_against(
    bench: Workbench, extra: Extra, place: RungPlace, before: Sequence[ScoredSample] | None
) -> Iterator[Event | ExtraFound]:
    """Yield the events of sampling, then the scores compared with `before`, or the failure."""
    number, step, trained, folder = place.trial, place.step, place.trained, place.folder
    try:
        with naming_memory_errors():
            scored = yield from _sampled(bench, extra, trained, folder.extra(extra.folder_name))
    except (DivergedError, OutOfMemoryError, TunerError) as error:
        if number is None and isinstance(error, TunerError):
            raise
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        yield _missing(extra, place, why)
        return
    found = look_at(bench, scored, scored if trained is None else before)
    grid = folder.extra(extra.folder_name).grid
    rung = RungRow(number, step, found.objectives, found.rates, trained, grid, found.measures)
    yield ExtraFound(ExtraRow(extra, rung), without_pixels(scored))


def _sampled(
    bench: Workbench, extra: Extra, trained: Path | None, folder: RungFolder
) -> Generator[Event, None, list[ScoredSample]]:
    base = _base_of(bench, extra)
    samples = yield from drawn(base, suite_of(bench.suite, extra), trained, folder)
    return keep(metrics.score(samples, bench.judges), folder, base.name)


def suite_of(suite: SuiteConfig, extra: Extra) -> SuiteConfig:
    """The suite as an extra has it: the same prompts and seeds, another size, an alias."""
    size: int | str = int(extra.size) if extra.size.isdecimal() else extra.size
    resized = suite.model_copy(update={"size": size})
    return with_alias(resized, extra.alias) if extra.alias else resized


def _base_of(bench: Workbench, extra: Extra) -> BaseModel:
    """The study's own base, or another one, which is held only while it is used."""
    if extra.base == bench.base.name:
        return bench.base
    other = load_base(extra.base, str(bench.base.device))
    _require_alike(bench.base, other)
    other.clip_skip = bench.base.clip_skip
    return other


def _require_alike(base: BaseModel, other: BaseModel) -> None:
    names = ("block_out_channels", "cross_attention_dim", "in_channels", "down_block_types")
    ours, theirs = base.pipeline.unet.config, other.pipeline.unet.config
    if unlike := [name for name in names if ours[name] != theirs[name]]:
        raise ConfigError(
            f"also_sample_on {other.name}: its UNet differs from that of {base.name} in "
            f"{', '.join(unlike)}, so no LoRA of the one fits the other; leave it out"
        )


def _missing(extra: Extra, place: RungPlace, why: str) -> ExtraFound:
    grid = place.folder.extra(extra.folder_name).grid
    rung = RungRow(place.trial, place.step, {}, {}, place.trained, grid)
    return ExtraFound(ExtraRow(extra, rung, why))
