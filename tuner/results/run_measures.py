"""What is measured of one run beside its objectives: the questions of the hand-run series.

Pure functions of scored samples and of pictures. Whoever compares runs asks here: the verdicts of a
study of recipes, and benchmarks/world.py.
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
    """The samples whose prompt says nothing of clothes."""
    return [one for one in scored if not one.sample.prompt.names_clothes]


def detailed(scored: Scored) -> list[ScoredSample]:
    """The samples whose prompt names clothes: long ones, close to the captions."""
    return [one for one in scored if one.sample.prompt.names_clothes]


def objective(name: str, scored: Scored) -> Value:
    """An objective of metrics.objectives on some samples, nothing taken off for abstentions."""
    found = objectives.objective(name, scored, None)
    return found.value if found.n else None


def undressed(scored: Scored) -> Value:
    """Share of undressed figures on the prompts that say nothing of clothes."""
    found = objectives.rates(bare(scored))["undressed_rate"]
    return found.value if found.n else None


def sex_right(scored: Scored, sex: Sex) -> Value:
    """Share of figures of the sex that the prompt asks for, of the prompts for `sex`."""
    asked = [one for one in scored if one.sample.prompt.sex == sex]
    known = [value for one in asked if (value := one.scores["gender"].value) is not None]
    return mean(float(value >= 0.5) for value in known)


def blur(scored: Scored) -> Value:
    """Mean blur effect, 0 sharp to 1 blurred (metrics.judges.sharpness)."""
    found = [one.scores["sharp"].evidence.get("blur_effect", 1.0) for one in scored]
    return mean(float(each) for each in found if isinstance(each, int | float))


def artefacts(scored: Scored) -> Value:
    """Colour blocks, burnt colours and noise: 0 for clean pictures to 1."""
    found = [one.scores["clean"].value for one in scored]
    return mean(1.0 - value for value in found if value is not None)


def clothes_told(scored: Scored) -> Value:
    """Mean probability of the colours of clothes that prompts name (metrics.judges.prompt_fit)."""
    return mean(
        float(seen)
        for one in detailed(scored)
        for phrase in _clothes(one.sample.prompt)
        if isinstance(seen := one.scores["prompt_fit"].evidence.get(phrase), int | float)
    )


def mean(values: Iterable[float]) -> Value:
    """The mean; None where there is nothing."""
    known = list(values)
    return sum(known) / len(known) if known else None


def _clothes(prompt: Prompt) -> list[str]:
    return [one.phrase for one in questions(prompt, _CLOTHES)]


OF_SAMPLES: Mapping[str, Callable[[Scored], Value]] = {
    "pose_bare": lambda seen: objective("pose", bare(seen)),
    "pose_detailed": lambda seen: objective("pose", detailed(seen)),
    "undressed": undressed,
    "boys_right": lambda seen: sex_right(seen, "male"),
    "girls_right": lambda seen: sex_right(seen, "female"),
    "quality": lambda seen: objective("quality", seen),
    "blur": blur,
    "artefacts": artefacts,
    "prompt_fit": lambda seen: objective("prompt_fit", seen),
    "clothes_told": clothes_told,
}
"""The measures of tuner.recipes that are worked out from a run's scores; every rung of a study
keeps the others."""


def run_measures(scored: Scored, kept: Mapping[str, Measure]) -> dict[str, Value]:
    """Every one of MEASURES of a run; None where nothing could be judged.

    `kept` are the measures that were kept with the run's rung. Pictures are not looked at.
    """
    return {
        name: OF_SAMPLES[name](scored)
        if name in OF_SAMPLES
        else (kept[name].value if name in kept else None)
        for name in MEASURES
    }


NOTHING: Mapping[str, float] = {"pose_bare": 0.0, "pose_detailed": 0.0, "quality": 0.0}
"""What is known of a run that draws nothing any more: its numbers left the finite ones, or its
pictures are of one colour."""
