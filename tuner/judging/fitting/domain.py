"""Fit how drawings differ from photographs: `python -m tuner.judging.fitting.domain FOLDER`.

FOLDER holds real pictures and a labels.csv as tuner.judging.fitting.photo_judges reads them.
Writes domain.json into metrics/calibration, from these pictures and rendered figures.
Needs scikit-learn (`pip install 'tuner[dev]'`).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pictures

from metrics.domain import DRAWN, domain_evidence
from metrics.logistic import CALIBRATION
from tuner.judging.fitting.photo_judges import is_sound, read_labels
from tuner.judging.fitting.regression import fit_logistic, write_calibration
from tuner.mannequin import draw
from tuner.mannequin.building.build import redraw
from tuner.mannequin.figure import Style, random_figure
from tuner.models import load_base

_FIGURES = 60
"""Rendered figures of each style, each in three looks, against the real pictures."""


def domain_coefficients(folder: Path, labels: Sequence[dict[str, str]]) -> dict[str, Any]:
    """Fit the kinds of pictures: real ones against rendered ones, plain and redrawn."""
    rng, vae = np.random.default_rng(3), load_base("mannequin").pipeline.vae
    measured, truths = [], []
    for label in labels:
        image = np.asarray(Pictures.open(folder / label["file"]).convert("RGB"), np.uint8)
        measured.append(domain_evidence(image))
        truths.append("photographic")
    styles: tuple[Style, ...] = ("first", "second")
    for style in styles:
        for _ in range(_FIGURES):
            figure = random_figure(rng, style=style)
            small = draw(figure, 64)
            for image in (small, draw(figure, 256), redraw(vae, small[None])[0]):
                measured.append(domain_evidence(image))
                truths.append(DRAWN)
    return fit_logistic(measured, truths, ("photographic", DRAWN), "photographic", 1.0)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, fit and write with the arguments of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    options = parser.parse_args(arguments)
    labels = read_labels(options.folder)
    whole = {
        "judge": "domain",
        "made_by": "python -m tuner.judging.fitting.domain FOLDER",
        "sound_pictures": sum(map(is_sound, labels)),
        "sources": len({label["repo"] for label in labels}),
        "coefficients": domain_coefficients(options.folder, labels),
    }
    write_calibration(CALIBRATION / "domain.json", whole)


if __name__ == "__main__":
    main()
