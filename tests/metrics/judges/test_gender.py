from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from skimage import data

from metrics import open_detectors
from metrics.contract import Image, JudgeSettings, Sample
from metrics.detectors import Detectors
from metrics.evidence import Evidence
from metrics.figure.figure import NOSE
from metrics.judges import gender
from tuner.storage import shipped

Evidences = Callable[[Image], Evidence]


def test_the_two_sexes_are_asked_in_the_same_words() -> None:
    female, male = gender.GROUPS["female"], gender.GROUPS["male"]
    assert len(female) == len(male)
    swapped = [text.replace("woman", "man").replace("female", "male") for text in female]
    assert [text.replace("girl", "boy") for text in swapped] == list(male)


def test_what_speaks_for_one_sex_speaks_against_the_other(
    evidence: Evidences,
    rendered: Callable[..., list[Image]],
    sampled: Callable[..., Sample],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gender, "MIN_MARGIN", 0.0)  # random weights are never sure
    (image,) = rendered(1, 3)
    image_evidence = evidence(image)
    female = gender.score(sampled(image, sex="female"), image_evidence).value
    male = gender.score(sampled(image, sex="male"), image_evidence).value
    assert female is not None
    assert male is not None
    assert female + male == pytest.approx(1.0)


def test_abstentions_say_why(
    evidence: Evidences,
    rendered: Callable[..., list[Image]],
    sampled: Callable[..., Sample],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gender, "MIN_MARGIN", 0.999)
    (image,) = rendered(1, 3)
    empty = np.full((64, 64, 3), 90, np.uint8)
    reasons = [
        gender.score(sampled(image), evidence(image)).reason,
        gender.score(sampled(empty, sex="male"), evidence(empty)).reason,
        gender.score(sampled(image, sex="male"), evidence(image)).reason,
    ]
    assert reasons == ["the prompt names no sex", "no figure found", "the figure's sex is unclear"]


def test_without_a_model_nobody_s_sex_is_judged(
    rendered: Callable[..., list[Image]], sampled: Callable[..., Sample]
) -> None:
    (image,) = rendered(1, 3)
    sample = sampled(image, sex="male")
    with open_detectors(JudgeSettings(gender_model=None, domain="drawn")) as detectors:
        score = gender.score(sample, Evidence(sample, detectors))
    assert (score.value, score.reason) == (None, "no gender model set")


def test_a_model_too_sure_of_itself_is_held_to_a_wider_margin(
    rendered: Callable[..., list[Image]], sampled: Callable[..., Sample]
) -> None:
    (image,) = rendered(1, 3)
    sample = sampled(image, sex="female")
    reasons = []
    for margin in (0.0, 1.0):
        settings = JudgeSettings(gender_model=str(shipped.CLIP), sex_margin=margin, domain="drawn")
        with open_detectors(settings) as detectors:
            reasons.append(gender.score(sample, Evidence(sample, detectors)).reason)
    assert reasons == [None, "the figure's sex is unclear"]


def test_only_a_figure_that_leaves_a_doubt_is_looked_at_again(
    rendered: Callable[..., list[Image]],
    sampled: Callable[..., Sample],
    mannequin_detectors: Detectors,
    looks: list[Image],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (image,) = rendered(1, 3, size=256, framing="full")
    sample = sampled(image, sex="female")

    def count(sure: float) -> int:
        looks.clear()
        monkeypatch.setattr(gender, "SURE", sure)
        gender.score(sample, Evidence(sample, mannequin_detectors))
        return len(looks)

    assert count(sure=0.0) == 1
    assert count(sure=1.1) == 3
    whole, tight, head = (len(each) for each in looks)
    assert head < tight < whole


def test_a_figure_without_a_face_in_the_frame_is_looked_at_twice(
    rendered: Callable[..., list[Image]],
    sampled: Callable[..., Sample],
    mannequin_detectors: Detectors,
) -> None:
    (image,) = rendered(1, 3, size=256, framing="full")
    evidence = Evidence(sampled(image, sex="female"), mannequin_detectors)
    assert len(evidence.closer_embeddings) == 2
    figure = evidence.figure
    assert figure is not None
    joints = figure.joints.copy()
    joints[NOSE] = -5.0
    evidence = Evidence(sampled(image, sex="female"), mannequin_detectors)
    evidence.__dict__["figure"] = replace(figure, joints=joints)
    assert len(evidence.closer_embeddings) == 1


def test_the_reject_class_has_as_many_sentences_as_a_sex() -> None:
    assert len(gender.NOBODY) == len(gender.GROUPS["female"])


@pytest.mark.parametrize(
    ("rejected", "reason"), [(0.0, "the model sees nobody there"), (1.0, None)]
)
def test_what_looks_more_like_nobody_is_not_judged(
    rejected: float,
    reason: str | None,
    evidence: Evidences,
    rendered: Callable[..., list[Image]],
    sampled: Callable[..., Sample],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gender, "MIN_MARGIN", 0.0)  # random weights are never sure
    monkeypatch.setattr(gender, "REJECTED", rejected)
    (image,) = rendered(1, 3)
    score = gender.score(sampled(image, sex="male"), evidence(image))
    assert score.reason == reason
    assert (score.value is None) == (reason is not None)


def test_a_model_that_cannot_tell_nobody_is_not_asked(
    rendered: Callable[..., list[Image]],
    sampled: Callable[..., Sample],
    mannequin_detectors: Detectors,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gender, "REJECTED", 0.0)
    (image,) = rendered(1, 3, size=256, framing="full")
    sample = sampled(image, sex="female")
    score = gender.score(sample, Evidence(sample, mannequin_detectors))
    assert score.reason != "the model sees nobody there"
    assert "female" in score.evidence


def test_a_threshold_becomes_one_half() -> None:
    assert gender.rebalanced(0.7, None) == 0.7
    assert gender.rebalanced(0.7, 0.5) == pytest.approx(0.7)
    assert gender.rebalanced(0.8, 0.8) == pytest.approx(0.5)
    assert gender.rebalanced(0.0, 0.8) == 0.0
    assert gender.rebalanced(1.0, 0.8) == 1.0
    # Odds of 9 to 1 divided by those of 3 to 1.
    assert gender.rebalanced(0.9, 0.75) == pytest.approx(0.75)


def test_a_threshold_of_the_settings_moves_the_answer_but_not_the_evidence(
    rendered: Callable[..., list[Image]], sampled: Callable[..., Sample], clip_folder: Path
) -> None:
    (image,) = rendered(1, 3)
    sample = sampled(image, sex="female")
    found = []
    for threshold in (None, 0.01, 0.99):
        settings = JudgeSettings(
            domain="drawn", gender_model=str(clip_folder), sex_margin=0.0, sex_threshold=threshold
        )
        with open_detectors(settings) as detectors:
            found.append(gender.score(sample, Evidence(sample, detectors)))
    plain, low, high = (score.value for score in found)
    assert plain is not None
    assert low is not None
    assert high is not None
    assert high < 0.5 < low
    assert len({score.evidence["female"] for score in found}) == 1
    assert all(score.evidence["asked"] == "female" for score in found)


@pytest.fixture
def astronaut() -> Image:
    return np.asarray(data.astronaut()[:256, 96:352], np.uint8)


def test_a_photograph_is_judged_by_the_face_alone_without_a_model(
    astronaut: Image, sampled: Callable[..., Sample]
) -> None:
    with open_detectors(JudgeSettings(gender_model=None, sex_margin=0.0)) as detectors:
        scores = [
            gender.JUDGE.score(sample, Evidence(sample, detectors))
            for sample in (sampled(astronaut, sex="female"), sampled(astronaut, sex="male"))
        ]
        grey = sampled(np.full((64, 64, 3), 120, np.uint8), sex="male")
        nobody = gender.photographic(grey, Evidence(grey, detectors))
    female, male = (score.value for score in scores)
    assert female is not None
    assert male is not None
    assert female + male == pytest.approx(1.0)
    assert set(scores[0].evidence) == {"asked", "female", "by_face"}
    assert nobody.reason == "no figure found"


def test_a_photograph_without_a_face_is_not_judged_without_a_model(
    astronaut: Image, sampled: Callable[..., Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = sampled(astronaut, sex="female")
    with open_detectors(JudgeSettings(gender_model=None)) as detectors:
        evidence = Evidence(sample, detectors)
        evidence.__dict__["face"] = None
        unseen = gender.photographic(sample, evidence)
        monkeypatch.setattr(gender, "LEAST_SIDE", 1000.0)
        small = gender.photographic(sample, Evidence(sample, detectors))
    assert unseen.reason == "no gender model set, no face is seen"
    assert small.reason == "no gender model set, the face is too small"


def test_sentences_and_face_are_added_as_log_odds_with_a_bound(
    astronaut: Image,
    sampled: Callable[..., Sample],
    clip_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sample = sampled(astronaut, sex="female")
    settings = JudgeSettings(gender_model=str(clip_folder), traits=(), sex_margin=0.0)
    with open_detectors(settings) as detectors:
        evidence = Evidence(sample, detectors)
        measured = gender.photographic(sample, evidence).evidence
        monkeypatch.setattr(Evidence, "female_log_odds", lambda *_: 1000.0)
        sure = gender.photographic(sample, evidence)
        evidence.__dict__["face"] = None
        alone = gender.photographic(sample, evidence)
    sentences, face, both = (
        float(str(measured[name])) for name in ("by_sentences", "by_face", "female")
    )
    odds = sentences / (1 - sentences) * face / (1 - face)
    assert both == pytest.approx(odds / (1 + odds))
    assert sure.evidence["by_face"] == pytest.approx(1.0)
    bounded = sentences / (1 - sentences) * gender.MOST_SURE / (1 - gender.MOST_SURE)
    assert sure.value == pytest.approx(bounded / (1 + bounded))
    assert alone.value == pytest.approx(sentences)


def test_a_drawing_is_judged_without_its_face(
    rendered: Callable[..., list[Image]],
    sampled: Callable[..., Sample],
    mannequin_detectors: Detectors,
) -> None:
    (image,) = rendered(1, 3, size=256, framing="full")
    sample = sampled(image, sex="female")
    gender.JUDGE.score(sample, Evidence(sample, mannequin_detectors))
    assert "faces" not in mannequin_detectors.__dict__
