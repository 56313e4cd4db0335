"""The suite of a study on noise that none of its trials was sampled with."""

from __future__ import annotations

import math

from tuner.config import SuiteConfig


class FreshSuite(SuiteConfig):
    """A suite whose sampling seeds begin at `first_seed`."""

    first_seed: int = 0

    def cells(self):  # type: ignore[no-untyped-def]
        """Every prompt with its seeds from `first_seed` on, prompts before seeds."""
        seeds = range(self.first_seed, self.first_seed + self.seeds)
        return tuple((prompt, seed) for prompt in self.prompts for seed in seeds)


def fresh_suite(suite: SuiteConfig, seeds: int, first_seed: int | None = None) -> FreshSuite:
    """`suite` with `seeds` sampling seeds for each prompt from `first_seed` on; None: the first
    above all of its own."""
    same = {name: getattr(suite, name) for name in SuiteConfig.model_fields}
    first = suite.seeds if first_seed is None else first_seed
    return FreshSuite(**same | {"seeds": seeds, "first_seed": first})


def seeds_for(suite: SuiteConfig, samples: int) -> int:
    """How many seeds each prompt of `suite` needs for at least `samples` samples."""
    return math.ceil(samples / len(suite.prompts))
