"""The part of the figure that the frame shows.

A pose network draws joints beyond the frame, and folds legs that it cannot see into the frame. A
joint therefore counts as shown where it lies inside the frame and the network is sure of it, or
where the frame has room for it below the hips. A joint outside the frame is never a fault.
"""

from __future__ import annotations

import numpy as np

from metrics.contract import FramingClass
from metrics.figure.figure import LEGS, Figure

_SURE = 0.5
# Room between hips and the frame's lower edge, in lengths of the spine. On 200 full bodies of both
# drawing styles it is about 1.2 and more, on 200 half bodies 0.4 and less; knees end at about 0.8.
_ROOM_FOR_FEET, _ROOM_FOR_KNEES = 1.2, 0.6
_TORSO_SHOWN = 0.6
"""Share of the spine above which the frame shows an upper body, not a mere portrait."""


def framing_class(figure: Figure) -> FramingClass:
    """Return the framing class of a figure, by its lowest part in the frame.

    `full` with an ankle in the frame, `knee-up` with a knee, `half` with most of the spine,
    otherwise `portrait`.
    """
    shoulders, hips = figure.joints[11:13].mean(axis=0), figure.joints[23:25].mean(axis=0)
    spine = float(np.linalg.norm(shoulders - hips))
    room = (figure.soft_mask.shape[0] - float(hips[1])) / max(1.0, spine)

    def shown(joint: int, enough: float) -> bool:
        sure = figure.visibility[joint] >= _SURE or room >= enough
        return bool(sure and figure.in_frame(joint))

    if any(shown(ankle, _ROOM_FOR_FEET) for _, _, ankle, _ in LEGS):
        return "full"
    if any(shown(knee, _ROOM_FOR_KNEES) for _, knee, _, _ in LEGS):
        return "knee-up"
    height, width = figure.soft_mask.shape
    along = shoulders + (hips - shoulders) * np.linspace(0.0, 1.0, 21)[:, None]
    inside = (along >= 0).all(axis=1) & (along < (width, height)).all(axis=1)
    return "half" if float(inside.mean()) >= _TORSO_SHOWN else "portrait"
