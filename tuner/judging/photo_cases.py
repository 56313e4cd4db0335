"""Test cases from the user's pictures: each as a sound one, and with faults painted in.

Faults are painted only where the pose shows the needed body parts. Painted pictures are not saved.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from metrics.contract import Sample
from metrics.detectors import Detectors
from metrics.preprocess import analysis_picture
from tuner.data.picture_file import read_pixels
from tuner.judging.cases import ALL_JUDGES, SOUND, Case, ladders, with_fault, wrong_sex
from tuner.judging.painting.body import PictureBody, read_picture_body
from tuner.judging.painting.limbs import painted_limbs
from tuner.judging.painting.red_eyes import with_red_eyes
from tuner.judging.painting.torso import bare_torsos
from tuner.judging.painting.unreadable import unreadable_figures
from tuner.judging.score_folder import FoundPictures

_LONGEST = 768
"""Longer side, in pixels, of a painted picture: painting is slow on larger ones."""


def photo_cases(pictures: FoundPictures, judges: Detectors) -> Iterator[Case]:
    """Yield each picture as sound, then with its faults; a file removed meanwhile is skipped.

    All get blur and colour blocks. A bare torso, removed and added limbs, red irises and a spoilt
    figure are painted where the landmarks allow it; the prompt gets the other sex if it names one.
    """
    for source, (path, prompt) in enumerate(pictures.prompted):
        try:
            image = np.asarray(read_pixels(path), np.uint8)
        except OSError:
            continue
        if max(image.shape[:2]) > _LONGEST:
            image = analysis_picture(image, _LONGEST)
        named = replace(prompt, text=prompt.text or "a person")
        sample = Sample(named, source, image, path)
        sound = Case(pictures.root.name or "pictures", source, SOUND, ALL_JUDGES, sample)
        yield sound
        yield from ladders(sound)
        yield from wrong_sex(sound)
        body = read_picture_body(sample, judges)
        if body is not None:
            yield from _body_faults(sound, body)


def _body_faults(sound: Case, body: PictureBody) -> Iterator[Case]:
    for share, image in bare_torsos(body, sound.source):
        yield with_fault(sound, "torso in skin", "cloth_share", image, share)
    for fault, image in painted_limbs(body):
        yield with_fault(sound, fault, "limbs", image)
    for fault, image in unreadable_figures(body, sound.source):
        yield with_fault(sound, fault, "pose_readable", image)
    eyes = with_red_eyes(body)
    if eyes is not None:
        yield with_fault(sound, "red eyes", "no_red_eyes", eyes)
