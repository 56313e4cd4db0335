"""Selfcheck cases from rendered figures: sound ones, and the same with each drawable fault."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from metrics.contract import Prompt, Sample
from tuner.judging.cases import (
    ALL_JUDGES,
    SOUND,
    Case,
    ladders,
    with_fault,
    with_prompt,
    wrong_framing,
    wrong_sex,
)
from tuner.mannequin import draw
from tuner.mannequin.figure import CLOTH_COLOURS, Figure, Limbs, Style, random_figure
from tuner.mannequin.render import draw_ground
from tuner.mannequin.unreadable import KINDS, STRENGTHS, unreadable

STYLES: tuple[Style, ...] = ("first", "second")
GROUPS: dict[Style, str] = {style: f"renders, {style} style" for style in STYLES}
"""Name of each style's group of cases; the mannequin's base draws the first style."""
_LIMB_FAULTS: tuple[Limbs, ...] = ("extra arm", "missing arm", "extra leg", "missing leg")
_SEED = 20_000
"""Seed of the figures, far from those used to calibrate and to test judges."""


def rendered_cases(count: int, size: int) -> Iterator[Case]:
    """Yield `count` sound figures of each style at `size` pixels, each followed by its faults.

    Faulty legs are drawn on full bodies, whatever the framing of the sound figure.
    """
    for style in STYLES:
        rng = np.random.default_rng(_SEED + STYLES.index(style))
        for source in range(count):
            figure = random_figure(rng, style=style)
            words = ", ".join(figure.tags)
            prompt = Prompt(words, figure.sex, figure.framing, names_clothes=True)
            sample = Sample(prompt, source, draw(figure, size))
            sound = Case(GROUPS[style], source, SOUND, ALL_JUDGES, sample)
            yield sound
            yield from _faults(sound, figure, size)
            yield from ladders(sound)
            yield from wrong_sex(sound)
            yield from wrong_framing(sound)
            words = ", ".join(_in_other_colours(figure).tags)
            yield with_prompt(sound, "other colours", "prompt_fit", words)
            beside = draw(random_figure(rng, style=style), size)
            pair = np.hstack([sample.image, beside])
            yield with_fault(sound, "two figures", "one_person", pair)


def _in_other_colours(figure: Figure) -> Figure:
    """Return the figure with each colour of its clothes moved on by four."""
    names = list(CLOTH_COLOURS)
    top, bottom = (
        names[(names.index(colour) + 4) % len(names)]
        for colour in (figure.top_colour, figure.bottom_colour)
    )
    return replace(figure, top_colour=top, bottom_colour=bottom)


def _faults(sound: Case, figure: Figure, size: int) -> Iterator[Case]:
    for fault in _LIMB_FAULTS:
        framing = "full" if "leg" in fault else figure.framing
        image = draw(replace(figure, limbs=fault, framing=framing), size)
        yield with_fault(sound, fault, "limbs", image)
    yield with_fault(sound, "undressed", "cloth_share", draw(replace(figure, clothed=False), size))
    yield with_fault(sound, "red eyes", "no_red_eyes", draw(replace(figure, red_eyes=True), size))
    yield with_fault(sound, "no figure", "pose_readable", draw_ground(figure, size))
    kind = tuple(KINDS)[sound.source % len(KINDS)]
    for strength in STRENGTHS:
        image = unreadable(figure, size, kind, strength)
        yield with_fault(sound, "unreadable", "pose_readable", image, strength)
