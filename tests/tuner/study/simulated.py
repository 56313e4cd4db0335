"""Scores of suites as the judges give them, drawn at random from rates that are known.

The suite is the shipped one: which prompt asks about what, and so the cells of each objective,
are as in a study. Nothing is drawn or judged: tests ask here what the statistics make of luck.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from metrics.contract import Measure, Sample, Score, ScoredSample
from metrics.objectives import objectives, rates
from metrics.posterior import Judged
from tuner.results.winner import Candidate, Entry, Run
from tuner.space.suite import PERSONS

NAMES = ("pose", "gender", "clothing", "quality")
LIMITS = {"undressed_rate": 0.3}
USUAL = {"read": 0.97, "limbs": 0.72, "female": 0.98, "male": 0.96, "dressed": 0.76, "sharp": 0.9}
"""Chances of a sample as the mannequin's are: between 0.7 and 1."""

_UNSEEN = np.zeros((1, 1, 3), np.uint8)


def samples(
    rng: np.random.Generator, chance: Mapping[str, float], seeds: int = 8
) -> list[ScoredSample]:
    """The suite on `seeds` seeds; 8 give 104 samples."""
    found = []
    for prompt in PERSONS:
        for seed in range(seeds):
            read, limbs, sex, dressed, sharp, clean = rng.random(6)
            right = chance["female" if prompt.sex == "female" else "male"]
            readable = read < chance["read"]
            values = {
                "pose_readable": float(readable),
                "limbs": 0.95 if limbs < chance["limbs"] else 0.05,
                "one_person": 1.0,
                "gender": 0.9 if sex < right else 0.1,
                "cloth_share": 0.9 if dressed < chance["dressed"] else 0.1,
            }
            # Sharpness and cleanness are no coins: they lie in a band around their mean.
            even = {"sharp": sharp, "clean": clean}
            values = {name: value if readable or name == "pose_readable" else None
                      for name, value in values.items()}  # fmt: skip
            values |= {name: chance["sharp"] - 0.1 + 0.2 * at for name, at in even.items()}
            values["no_explicit_parts"] = 1.0
            scores = {name: Score(name, value) for name, value in values.items()}
            found.append(ScoredSample(Sample(prompt, seed, _UNSEEN), scores))
    return found


def truth(chance: Mapping[str, float]) -> dict[str, float]:
    """What the objectives come to on endless samples, of a LoRA that is read as the base is."""
    limbs = 0.95 * chance["limbs"] + 0.05 * (1 - chance["limbs"])
    return {
        "pose": chance["read"] * limbs,
        "gender": min(chance["female"], chance["male"]),
        "clothing": chance["dressed"],
        "quality": chance["sharp"],
    }


def judged(found: list[ScoredSample], base: list[ScoredSample] | None) -> Judged:
    return Judged(found, objectives(found, base))


def run(found: list[ScoredSample], base: list[ScoredSample], effect: float = 0.4) -> Run:
    measured = Measure("effect", effect, 0.9 * effect, 1.1 * effect, len(found), len(found))
    return Run(judged(found, base), rates(found), measured)


def study(
    rng: np.random.Generator,
    chances: list[Mapping[str, float]],
    base: Mapping[str, float] = USUAL,
    seeds: int = 8,
) -> tuple[list[Entry], Judged]:
    """A confirmed trial for each of `chances`, without repeats, and the base."""
    before = samples(rng, base, seeds)
    entries = [
        Entry(Candidate(number, 300), run(samples(rng, chance, seeds), before))
        for number, chance in enumerate(chances)
    ]
    return entries, judged(before, None)
