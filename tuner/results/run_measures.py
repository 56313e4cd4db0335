"""Measures of one run beside its objectives, as the hand-run series of studies needs them.

Pure functions of scored samples, for the verdicts on a study of recipes and for
benchmarks/world.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from metrics import objectives
from metrics.contract import Measure, Prompt, ScoredSample, Sex
from metrics.judges.prompt_fit import questions
from tuner.space.recipes import MEASURES, Value

Scored = Sequence[ScoredSample]

_CLOTHES = ("clothes colour",)


def bare(scored: Scored) -> list[ScoredSample]:
    """Return the samples whose prompt names no clothes."""
    return [each for each in scored if not each.sample.prompt.names_clothes]


def detailed(scored: Scored) -> list[ScoredSample]:
    """Return the samples whose prompt names clothes: long prompts, close to the captions."""
    return [each for each in scored if each.sample.prompt.names_clothes]


def objective(name: str, scored: Scored) -> Value:
    """Return an objective of metrics.objectives on some samples, without deduction for abstentions.

    None if no sample could be judged.
    """
    result = objectives.objective(name, scored, None)
    return result.value if result.n else None


def undressed(scored: Scored) -> Value:
    """Return the share of undressed figures on the prompts that name no clothes."""
    rate = objectives.rates(bare(scored))["undressed_rate"]
    return rate.value if rate.n else None


def sex_right(scored: Scored, sex: Sex) -> Value:
    """Return the share of figures with the right sex, on the prompts for `sex`."""
    prompted = [each for each in scored if each.sample.prompt.sex == sex]
    known = [value for each in prompted if (value := each.scores["gender"].value) is not None]
    return mean(float(value >= 0.5) for value in known)


def blur(scored: Scored) -> Value:
    """Return the mean blur effect, from 0 (sharp) to 1 (blurred) (metrics.judges.sharpness)."""
    effects = [each.scores["sharp"].evidence.get("blur_effect", 1.0) for each in scored]
    return mean(float(effect) for effect in effects if isinstance(effect, int | float))


def artefacts(scored: Scored) -> Value:
    """Return the mean of colour blocks, burnt colours and noise, from 0 (clean) to 1."""
    values = [each.scores["clean"].value for each in scored]
    return mean(1.0 - value for value in values if value is not None)


def clothes_colours(scored: Scored) -> Value:
    """Return the mean probability of the colours of clothes that the prompts name.

    Source: metrics.judges.prompt_fit.
    """
    return mean(
        float(probability)
        for each in detailed(scored)
        for phrase in _clothes(each.sample.prompt)
        if isinstance(probability := each.scores["prompt_fit"].evidence.get(phrase), int | float)
    )


def mean(values: Iterable[float]) -> Value:
    """Return the mean; None without values."""
    known = list(values)
    return sum(known) / len(known) if known else None


def _clothes(prompt: Prompt) -> list[str]:
    return [question.phrase for question in questions(prompt, _CLOTHES)]


SAMPLE_MEASURES: Mapping[str, Callable[[Scored], Value]] = {
    "pose_bare": lambda scored: objective("pose", bare(scored)),
    "pose_detailed": lambda scored: objective("pose", detailed(scored)),
    "undressed": undressed,
    "boys_right": lambda scored: sex_right(scored, "male"),
    "girls_right": lambda scored: sex_right(scored, "female"),
    "quality": lambda scored: objective("quality", scored),
    "blur": blur,
    "artefacts": artefacts,
    "prompt_fit": lambda scored: objective("prompt_fit", scored),
    "clothes_told": clothes_colours,
}
"""The measures of tuner.space.recipes that are computed from a run's scores; the others are stored
with each rung."""


def run_measures(scored: Scored, kept: Mapping[str, Measure]) -> dict[str, Value]:
    """Return all MEASURES of a run; None for those for which nothing could be judged.

    `kept` are the measures stored with the run's rung. No picture is read.
    """
    return {
        name: SAMPLE_MEASURES[name](scored)
        if name in SAMPLE_MEASURES
        else (kept[name].value if name in kept else None)
        for name in MEASURES
    }


COLLAPSED_RUN: Mapping[str, float] = {"pose_bare": 0.0, "pose_detailed": 0.0, "quality": 0.0}
"""Measures of a diverged or collapsed run: its loss is not finite, or its pictures are of one
colour."""
