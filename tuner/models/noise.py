"""Random numbers of a suite's cell: they depend on its prompt's place and its seed alone."""

from __future__ import annotations

import numpy as np
import torch

from tuner.space import SuiteConfig


def cell_generator(suite: SuiteConfig, index: int, *more: int) -> torch.Generator:
    """Return random numbers that depend on the cell's prompt and seed alone; another `more` gives
    others, such as the noise that `euler_a` adds at every step."""
    _, seed = suite.cells()[index]
    entropy = [index // suite.seeds, seed, *more]
    mixed = np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(mixed >> 1))
