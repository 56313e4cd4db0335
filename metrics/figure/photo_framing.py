"""The part of a photographed figure that the frame shows.

On photographs the landmarker knows well which joints are in the frame. People sit, bend and stand
behind things, so the room below the hips says little. Joints that it guesses lie near the frame's
edge, so that a knee counts only with some of the lower leg below it; and legs behind a table or
under a coat are guessed too short.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from metrics.contract import FramingClass, Image
from metrics.figure.figure import LEGS

if TYPE_CHECKING:
    from metrics.detectors.mediapipe import Person

# Chosen on 251 real pictures; any knee with a visibility of 0.3 to 0.85 and any room of 0.2 to 0.6
# agrees with the eye as often, within 2 %.
_KNEE, _ROOM_BELOW_KNEE = 0.7, 0.45
_ANKLE, _ROOM_BELOW_ANKLE = 0.3, 0.05
"""Least visibility, and least room below the joint in lengths of the spine; clothes and furniture
hide ankles that are in the frame, so less visibility is enough for them."""
_TORSO_SHOWN = 0.5
"""Share of the spine above which the frame shows an upper body: the chest, not only shoulders."""
_THIGH, _LEG = 0.5, 0.9
"""Least length, in spines, of the longer thigh for a knee to count and of the longer leg for an
ankle. Of 251 pictures 224 agree without them and 228 with them; 0.45 to 0.55 and 0.8 to 1 give
227 to 229."""
_SHOULDERS_TO_SPINE = 1.35
"""Length of a spine in widths of the shoulders, for figures that bend towards the camera."""


def photo_framing_class(person: Person, image: Image) -> FramingClass:
    """Return the framing class of a photographed person, by the lowest part in the frame.

    `full` with an ankle in the frame, `knee-up` with a knee, `half` with half of the spine,
    otherwise `portrait`.
    """
    height, width = image.shape[:2]
    joints = person.joints * np.array([width, height], np.float32)
    shoulders, hips = joints[11:13].mean(axis=0), joints[23:25].mean(axis=0)
    across = float(np.linalg.norm(joints[11] - joints[12]))
    spine = max(float(np.linalg.norm(shoulders - hips)), _SHOULDERS_TO_SPINE * across, 1.0)

    def shown(joint: int, visibility: float, room: float) -> bool:
        x, y = joints[joint]
        inside = 0 <= x < width and 0 <= y < height - room * spine
        return bool(inside and person.visibility[joint] >= visibility)

    thighs, shins = (
        [float(np.linalg.norm(joints[leg[i]] - joints[leg[i + 1]])) / spine for leg in LEGS]
        for i in (0, 1)
    )
    is_leg = max(map(sum, zip(thighs, shins, strict=True))) >= _LEG
    if is_leg and any(shown(ankle, _ANKLE, _ROOM_BELOW_ANKLE) for _, _, ankle, _ in LEGS):
        return "full"
    is_thigh = max(thighs) >= _THIGH
    if is_thigh and any(shown(knee, _KNEE, _ROOM_BELOW_KNEE) for _, knee, _, _ in LEGS):
        return "knee-up"
    along = shoulders + (hips - shoulders) * np.linspace(0.0, 1.0, 41)[:, None]
    inside = (along >= 0).all(axis=1) & (along < (width, height)).all(axis=1)
    return "half" if float(inside.mean()) >= _TORSO_SHOWN else "portrait"
