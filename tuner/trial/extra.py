"""Sample a trial beside the suite: on further bases, at further sizes, with its alias.

Each of these extras is scored and compared with the same base without LoRA, at the same size and
with the same prompts. Extras are reported and never optimised: they have tables of their own.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from metrics.contract import ScoredSample
from tuner.errors import ConfigError, DivergedError, OutOfMemoryError, TunerError
from tuner.events import Event, Phase
from tuner.models import BaseModel, load_base
from tuner.models.memory_errors import naming_memory_errors
from tuner.models.stored.prediction import require_alike
from tuner.models.stored.weight_files import NotFiniteError
from tuner.space import StudyConfig, SuiteConfig, TrainConfig
from tuner.space.sizes import as_text, parse_size
from tuner.space.suite import TRAIN_SIZE
from tuner.storage import Store, StudyFolder
from tuner.storage.extra_rows import Extra, ExtraRow
from tuner.storage.folder import RungFolder
from tuner.storage.packed import pack
from tuner.storage.rows import RungRow
from tuner.trial.alias_leak import with_alias
from tuner.trial.keep import write_pictures
from tuner.trial.messages import ExtraScored
from tuner.trial.scoring import draw_suite
from tuner.trial.workbench import Workbench, summarise


@dataclass(frozen=True)
class RungPlace:
    """The trained file and the folder of a trial's rung; the base has no trial and no file."""

    trial: int | None
    step: int
    trained: Path | None
    folder: RungFolder


@dataclass(frozen=True)
class Extras:
    """Extra suites of a study; `of_base` collects the base's samples as they are scored.

    They are empty where the base could not be sampled; the next run tries again.
    """

    config: StudyConfig
    folder: StudyFolder
    of_base: dict[Extra, Sequence[ScoredSample]] = field(default_factory=dict)

    def common(self) -> list[Extra]:
        """Return the extras that are the same for all trials."""
        suite = self.config.suite
        sizes = [size for size in suite.also_at if size != TRAIN_SIZE]
        return self._distinct(sizes, None)

    def of_trial(self, train: TrainConfig) -> list[Extra]:
        """Return the extras of a trial with the training settings `train`."""
        suite = self.config.suite
        sizes = [train.resolution if size == TRAIN_SIZE else size for size in suite.also_at]
        return self._distinct(sizes, train.alias if suite.also_with_alias else None)

    def _distinct(self, sizes: Sequence[int | str], alias: str | None) -> list[Extra]:
        base, own = self.config.base, as_text(self.config.suite.image_size)
        extras = [Extra(base, as_text(parse_size(size))) for size in sizes]
        extras += [Extra(other, own) for other in self.config.also_sample_on]
        extras += [Extra(base, own, alias)] if alias else []
        return [extra for extra in dict.fromkeys(extras) if extra != Extra(base, own)]


def extras_of(config: StudyConfig, folder: StudyFolder, store: Store) -> Extras:
    """Return the study's extras, with the base's samples of earlier runs."""
    extras = Extras(config, folder)
    for row in store.extras():
        if row.rung.trial is None and row.reason is None:
            extras.of_base[row.extra] = [sample.scored() for sample in store.extra_samples(row)]
    return extras


def sample_bases(bench: Workbench, extras: Extras) -> Iterator[Event | ExtraScored]:
    """Sample the base under every extra that all trials share, unless it was sampled before.

    Raises MissingModelError for a further base that is missing, ConfigError for one with another
    architecture than the study's.
    """
    for extra in extras.common():
        if extra not in extras.of_base:
            yield Phase("base")
            yield from _of_base(bench, extras, extra)


def sample_extras(
    bench: Workbench, extras: Extras, number: int, train: TrainConfig, last: tuple[int, RungFolder]
) -> Iterator[Event | ExtraScored]:
    """Sample the last rung of trial `number` under each of its extras.

    `last` is that rung's step and folder. An extra that cannot be drawn (no memory, pictures that
    are not finite, a LoRA that does not fit the other base) becomes a row with the reason: no extra
    changes how a trial ends.
    """
    step, folder = last
    place = RungPlace(number, step, folder.trained(train.method), folder)
    for extra in extras.of_trial(train):
        yield Phase("sample", number)
        if extra.base != bench.base.name and train.method != "lora":
            why = "DreamBooth's weights replace those of the base, so another base cannot use them"
            yield _missing(extra, place, why)
            continue
        if extra not in extras.of_base:
            yield from _of_base(bench, extras, extra)
        before = extras.of_base[extra] or None
        yield from _compared(bench, extra, place, before)


def _of_base(bench: Workbench, extras: Extras, extra: Extra) -> Iterator[Event | ExtraScored]:
    folder = RungFolder(extras.folder.base)
    for outcome in _compared(bench, extra, RungPlace(None, 0, None, folder), None):
        if isinstance(outcome, ExtraScored):
            extras.of_base[extra] = outcome.scored
        yield outcome


def _compared(
    bench: Workbench, extra: Extra, place: RungPlace, before: Sequence[ScoredSample] | None
) -> Iterator[Event | ExtraScored]:
    """Yield the events of sampling, then the scores compared with `before`, or the reason."""
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
    scores = summarise(bench, scored, scored if trained is None else before)
    grid = folder.extra(extra.folder_name).grid
    rung = RungRow(number, step, scores.objectives, scores.rates, trained, grid, scores.measures)
    yield ExtraScored(ExtraRow(extra, rung), pack(scored))


def _sampled(
    bench: Workbench, extra: Extra, trained: Path | None, folder: RungFolder
) -> Generator[Event, None, list[ScoredSample]]:
    base = _base_of(bench, extra)
    suite = suite_of(bench.suite, extra)
    drawn = yield from draw_suite(bench, suite, trained, folder, base=base)
    return write_pictures(drawn.scored(), folder, base.name)


def suite_of(suite: SuiteConfig, extra: Extra) -> SuiteConfig:
    """Return the suite of an extra: the same prompts and seeds, another size or an alias."""
    size: int | str = int(extra.size) if extra.size.isdecimal() else extra.size
    resized = suite.model_copy(update={"size": size})
    return with_alias(resized, extra.alias) if extra.alias else resized


def _base_of(bench: Workbench, extra: Extra) -> BaseModel:
    """Return the study's own base, or load another one, which is not kept after its use."""
    if extra.base == bench.base.name:
        return bench.base
    try:
        other = load_base(extra.base, str(bench.base.device))
    except NotFiniteError as error:  # like pictures that are not finite: no reason to end a study
        raise DivergedError(str(error)) from error
    _require_alike(bench.base, other)
    other.clip_skip = bench.base.clip_skip
    return other


_ALIKE = (
    "block_out_channels",
    "cross_attention_dim",
    "in_channels",
    "down_block_types",
    "transformer_layers_per_block",
)
"""Settings of a UNet that the layers of a LoRA depend on."""


def _require_alike(base: BaseModel, other: BaseModel) -> None:
    require_alike(other.name, other.prediction, base.prediction)
    ours, theirs = base.pipeline.unet.config, other.pipeline.unet.config
    if unlike := [name for name in _ALIKE if ours[name] != theirs[name]]:
        raise ConfigError(
            f"also_sample_on {other.name}: its UNet differs from that of {base.name} in "
            f"{', '.join(unlike)}, so no LoRA of the one fits the other; leave it out"
        )


def _missing(extra: Extra, place: RungPlace, why: str) -> ExtraScored:
    grid = place.folder.extra(extra.folder_name).grid
    rung = RungRow(place.trial, place.step, {}, {}, place.trained, grid)
    return ExtraScored(ExtraRow(extra, rung, why))
