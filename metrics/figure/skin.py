"""The colour of a figure's skin, and how far other colours are from it."""

from __future__ import annotations

import numpy as np

from metrics.figure.figure import (
    LEFT_EYE,
    MOUTH_LEFT,
    MOUTH_RIGHT,
    NOSE,
    RIGHT_EYE,
    Figure,
    Floats,
    patch_colour,
)

_LIGHTNESS = 0.2  # a torso lies in the chin's shadow or in a highlight
_MORE_COLOUR = 0.6  # shade makes skin more colourful, nothing makes it greyer


def skin_distance(colour: Floats, skin: Floats) -> float:
    """Return how far a colour is from one of skin, both L*a*b*: about 20 from pale skin to white.

    Lightness counts little, and more chroma of the skin's own hue counts less than any other change
    of colour.
    """
    lightness, *chroma = colour - skin
    hue = skin[1:] / max(1e-6, float(np.linalg.norm(skin[1:])))
    along = float(np.dot(chroma, hue))
    across = float(np.linalg.norm(chroma - along * hue))
    along *= _MORE_COLOUR if along > 0 else 1.0
    return float(np.linalg.norm([_LIGHTNESS * lightness, along, across]))


def skin_distances(colours: Floats, skin: Floats) -> Floats:
    """Return `skin_distance` of each of many colours (n, 3), shape (n,)."""
    gaps = colours - skin
    hue = skin[1:] / max(1e-6, float(np.linalg.norm(skin[1:])))
    along = gaps[:, 1:] @ hue
    across = np.linalg.norm(gaps[:, 1:] - along[:, None] * hue, axis=-1)
    along = np.where(along > 0, _MORE_COLOUR * along, along)
    distances = np.sqrt((_LIGHTNESS * gaps[:, 0]) ** 2 + along**2 + across**2)
    return np.asarray(distances, np.float32)


def face_colours(figure: Figure, colours: Floats) -> list[Floats]:
    """Return the colours of nose and cheeks that the frame shows, away from the fringe."""
    joints, unit = figure.joints, figure.unit
    eyes = joints[[LEFT_EYE, RIGHT_EYE]].mean(axis=0)
    mouth = joints[[MOUTH_LEFT, MOUTH_RIGHT]].mean(axis=0)
    cheeks = [joints[eye] + 0.55 * (mouth - eyes) for eye in (LEFT_EYE, RIGHT_EYE)]
    places = [(0.25 * eyes + 0.25 * mouth + 0.5 * joints[NOSE], 0.18), *((c, 0.1) for c in cheeks)]
    patches = [patch_colour(colours, figure.mask, at, size * unit) for at, size in places]
    return [colour for colour in patches if colour is not None]
