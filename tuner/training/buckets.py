"""Aspect-ratio buckets: the sizes that pictures are trained at where they are not cut square.

As NovelAI (2022) introduced them and kohya's trainer has them: sizes of about the area of the
resolution, each picture at the one whose shape is nearest to its own, batches of one size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Size = tuple[int, int]
"""Width and height in pixels."""


def bucket_sizes(size: Size, step: int) -> tuple[Size, ...]:
    """The sizes of the buckets of resolution `size`, from the tallest to the widest.

    Sides are multiples of `step` (pixels), from half to twice the side of the square of that area,
    and each width has the largest height that keeps the area; `size` itself is among them.
    """
    area = size[0] * size[1]
    side = math.sqrt(area)
    shortest, longest = math.ceil(side / 2 / step) * step, int(2 * side / step) * step
    found = {size}
    for width in range(shortest, longest + 1, step):
        height = min(longest, area // width // step * step)
        if height >= shortest:
            found |= {(width, height), (height, width)}
    return tuple(sorted(found, key=lambda one: (one[0] / one[1], one)))


def nearest(sizes: Sequence[Size], width: int, height: int) -> Size:
    """The size whose aspect ratio is nearest to that of a picture, as a factor; of equal ones the
    larger."""
    ratio = math.log(width / height)
    return min(sizes, key=lambda one: (abs(math.log(one[0] / one[1]) - ratio), -one[0] * one[1]))
