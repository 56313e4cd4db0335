"""What of a rung's pictures is kept: each one as it was drawn, or pixelated where it was flagged.

Pictures are written after they were scored, so that a flagged one never lies on the disk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from PIL import Image as Pictures

from metrics.contract import Score, ScoredSample
from tuner.data.picture_file import pixelated
from tuner.space.config import MANNEQUIN
from tuner.storage import replacing
from tuner.storage.folder import RungFolder
from tuner.trial.grid import write_grid

_FLAGS = ("no_explicit_parts", "cloth_share")


def keep(scored: Sequence[ScoredSample], folder: RungFolder, base: str) -> list[ScoredSample]:
    """Write the pictures, each to its path or else by its place in `scored`, and their grid;
    returns the samples as they are kept.

    On any base but the mannequin, whose unclothed figures are shop-window dummies, a picture with
    explicit parts or a bare torso is pixelated, here and in what is returned.
    """
    kept = list(scored) if base == MANNEQUIN else [_discreet(one) for one in scored]
    for index, one in enumerate(kept):
        with replacing(one.sample.path or folder.sample(index)) as temporary:
            Pictures.fromarray(one.sample.image).save(temporary)
    write_grid([one.sample for one in kept], folder.grid)
    return kept


def is_flagged(scores: Mapping[str, Score]) -> bool:
    """Whether a judge of clothing is surer than not that the picture shows too much."""
    values = [scores[name].value for name in _FLAGS if name in scores]
    return any(value is not None and value < 0.5 for value in values)


def _discreet(one: ScoredSample) -> ScoredSample:
    if not is_flagged(one.scores):
        return one
    return replace(one, sample=replace(one.sample, image=pixelated(one.sample.image)))
