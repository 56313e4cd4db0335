"""Aspect-ratio buckets: training sizes for pictures that are not cut to one shape.

NovelAI (2022) introduced them and kohya's trainer has them: sizes of about the resolution's area,
each picture at the size whose shape is nearest to its own, batches of one size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Size = tuple[int, int]
"""Width and height in pixels."""


def bucket_sizes(size: Size, step: int) -> tuple[Size, ...]:
    """Return the sizes of the buckets of resolution `size`, from the tallest to the widest.

    Sides are multiples of `step` (pixels), from half to twice the side of the square of that area,
    and each width has the largest height that keeps the area; `size` itself is among them.
    """
    area = size[0] * size[1]
    side = math.sqrt(area)
    shortest, longest = math.ceil(side / 2 / step) * step, int(2 * side / step) * step
    sizes = {size}
    for width in range(shortest, longest + 1, step):
        height = min(longest, area // width // step * step)
        if height >= shortest:
            sizes |= {(width, height), (height, width)}
    return tuple(sorted(sizes, key=lambda each: (each[0] / each[1], each)))


def nearest(sizes: Sequence[Size], width: int, height: int) -> Size:
    """Return the size whose aspect ratio is nearest to the picture's, as a factor; of equally near
    sizes the largest."""
    ratio = math.log(width / height)
    return min(
        sizes, key=lambda size: (abs(math.log(size[0] / size[1]) - ratio), -size[0] * size[1])
    )
