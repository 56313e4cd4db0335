"""The second style's palette: the same colour names as the first style's, in other shades."""

from __future__ import annotations

CLOTH_SHADES: dict[str, tuple[int, int, int]] = {
    "red": (178, 28, 62),
    "blue": (66, 116, 214),
    "green": (92, 152, 66),
    "yellow": (222, 188, 62),
    "black": (22, 24, 32),
    "white": (244, 240, 228),
    "purple": (112, 72, 178),
    "orange": (226, 106, 44),
}
HAIR_SHADES: dict[str, tuple[int, int, int]] = {
    "black hair": (38, 36, 48),
    "brown hair": (116, 74, 44),
    "blonde hair": (232, 200, 116),
    "red hair": (182, 80, 36),
    "grey hair": (172, 174, 176),
}
SKIN_SHADES: tuple[tuple[int, int, int], ...] = (
    (250, 216, 196),
    (238, 196, 166),
    (222, 172, 136),
    (194, 140, 104),
    (160, 112, 82),
    (124, 86, 64),
)
EYE_SHADES: tuple[tuple[int, int, int], ...] = ((70, 44, 30), (58, 92, 120), (66, 92, 58))
