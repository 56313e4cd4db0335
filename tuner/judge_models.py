"""Which models the judges open: `mannequin` is the word for those that come with the tool."""

from __future__ import annotations

from metrics.contract import JudgeSettings
from tuner import mannequin
from tuner.config import MANNEQUIN


def judge_settings(
    gender_model: str | None, person_model: str | None, copy_model: str | None = None
) -> JudgeSettings:
    """The judges' settings with `mannequin` as its folders; None: that judge has no model."""
    return JudgeSettings(
        gender_model=str(mannequin.CLIP) if gender_model == MANNEQUIN else gender_model,
        person_model=str(mannequin.YOLO) if person_model == MANNEQUIN else person_model,
        tells=mannequin.CLIP_TELLS if gender_model == MANNEQUIN else None,
        copy_model=str(mannequin.CLIP) if copy_model == MANNEQUIN else copy_model,
    )
