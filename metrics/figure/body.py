"""The regions of the main figure, and how much of it one skeleton explains.

A pose network always draws one valid human. Faults of a body are therefore looked for outside its
skeleton: in the other parts of the figure.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from metrics.figure.figure import Figure, Mask, explained_region, limb_likeness
from metrics.figure.region import figure_region, joined_to_torso

_LEG_ROOM = 0.8


@dataclass(frozen=True)
class Body:
    """The main figure's regions, each (H, W) on the figure's working picture, 1 inside.

    `explained`: covered by one skeleton. `region`: everything that looks like the figure. `joined`:
    the part of `region` that is connected to the torso. `unexplained`: the part of `joined` that no
    bone covers. `alike`: pixels in a colour of the figure's own limbs.
    """

    figure: Figure
    explained: Mask
    region: Mask
    joined: Mask
    unexplained: Mask
    alike: Mask
    shows_legs: bool

    @property
    def unexplained_share(self) -> float:
        """Share of the figure that no skeleton explains, 0 to 1."""
        return float(self.unexplained.sum()) / max(1.0, float(self.joined.sum()))

    @property
    def fuzzy_share(self) -> float:
        """Pixels that the landmarker's mask leaves undecided, as a share of the figure's pixels."""
        soft = self.figure.soft_mask
        undecided = (soft > 0.15) & (soft < 0.85)
        return float(undecided.sum()) / max(1.0, float(self.figure.mask.sum()))


def read_body(figure: Figure) -> Body:
    """Split the picture into figure and ground, and the figure by its skeleton."""
    explained = explained_region(figure)
    alike = limb_likeness(figure)
    region = figure_region(figure, explained, alike)
    joined = joined_to_torso(figure, region)
    unexplained = without_thin_parts(joined & (1 - explained))
    return Body(figure, explained, region, joined, unexplained, alike, shows_legs(figure))


def without_thin_parts(mask: Mask) -> Mask:
    """Return the mask without parts thinner than three pixels."""
    return np.asarray(cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)), np.uint8)


def shows_legs(figure: Figure) -> bool:
    """Return True if the frame leaves room for legs below the hips, measured by the spine.

    On a half-body picture the network folds the legs that it cannot see into the frame.
    """
    shoulders, hips = figure.joints[11:13].mean(axis=0), figure.joints[23:25].mean(axis=0)
    spine = float(np.linalg.norm(shoulders - hips))
    return bool(figure.soft_mask.shape[0] - hips[1] > _LEG_ROOM * spine)
