"""How strong is a regular grid of dots over the whole picture?

Dithering, and decoders that upsample badly, leave one: sharp lines in the spectrum.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from metrics.contract import Image

_WINDOW = 64
_WINDOWS = 4
"""Windows along a side at most, spread evenly: a grid is everywhere."""
_LEAST_FREQUENCY = 0.18
"""In periods a pixel: scenes have regular things too, such as fences, but coarser ones."""
_NEIGHBOURS = 5  # side of the square of frequencies that a line is compared with


def grid_level(image: Image) -> float:
    """Return how far the strongest fine line of the spectrum is above its neighbours, as a log.

    The spectrum is the median over windows of 64 pixels, so that a texture in one place is no grid.
    0 where the picture is smaller than a window.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    height, width = grey.shape
    if min(height, width) < _WINDOW:
        return 0.0
    taper = np.outer(np.hanning(_WINDOW), np.hanning(_WINDOW)).astype(np.float32)
    tops, lefts = (_starts(side) for side in (height, width))
    windows = np.stack(
        [grey[top : top + _WINDOW, left : left + _WINDOW] for top in tops for left in lefts]
    )
    windows = (windows - windows.mean(axis=(1, 2), keepdims=True)) * taper
    power = np.median(np.abs(np.fft.rfft2(windows)) ** 2, axis=0)
    spectrum = np.fft.fftshift(np.log(power + 1e-3), axes=0).astype(np.float32)
    rows, columns = np.fft.fftshift(np.fft.fftfreq(_WINDOW)), np.fft.rfftfreq(_WINDOW)
    fine = np.hypot(rows[:, None], columns[None]) > _LEAST_FREQUENCY
    # Lines at the highest frequency need neighbours beyond it.
    around = (_NEIGHBOURS // 2,) * 4
    padded = cv2.copyMakeBorder(spectrum, *around, cv2.BORDER_REFLECT_101)
    middle = np.s_[around[0] : -around[0], around[0] : -around[0]]
    above = spectrum - cv2.medianBlur(padded, _NEIGHBOURS)[middle]
    return max(0.0, float(above[fine].max()))


def _starts(side: int) -> npt.NDArray[np.int_]:
    """Return where windows begin along a side."""
    count = min(_WINDOWS, 2 * side // _WINDOW - 1)
    return np.linspace(0, side - _WINDOW, max(1, count)).astype(int)
