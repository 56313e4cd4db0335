from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from metrics import version
from metrics.contract import Image, JudgeSettings, Sample, Score
from metrics.detectors import Detectors
from metrics.evidence import Evidence, Judge
from metrics.objectives import FORMULAS, JUDGED_BY, objectives, rates
from metrics.scoring import JUDGES, score_samples
from metrics.version import judge_version

HELPER = "LIMIT = 0.5\n"
JUDGE = '''"""What it asks."""

from own_judge import helper
from metrics.contract import Score
from metrics.evidence import Judge


def score(sample, evidence):
    """What it says."""
    return Score("own", helper.LIMIT)


JUDGE = Judge("own", score)
'''


def _forget() -> None:
    version._version.cache_clear()
    version._read.cache_clear()


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], str]]:
    """The version of a judge in a package of its own, written as given."""
    package = tmp_path / "own_judge"
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    # The modules of `metrics` stay as they are, so that they are read once for all these tests.
    read, anew = version._read, version._read.__wrapped__

    def read_once(name: str, packages: frozenset[str]) -> tuple[str, frozenset[str]]:
        return (anew if name.startswith("own_judge") else read)(name, packages)

    monkeypatch.setattr(version, "_read", read_once)

    def versioned(judge: str = JUDGE, helper: str = HELPER) -> str:
        (package / "judge.py").write_text(judge)
        (package / "helper.py").write_text(helper)
        version._version.cache_clear()
        importlib.invalidate_caches()
        return judge_version(importlib.import_module("own_judge.judge").JUDGE, "drawn")

    yield versioned
    version._version.cache_clear()
    for name in [name for name in sys.modules if name.startswith("own_judge")]:
        del sys.modules[name]


def test_words_and_layout_do_not_count(own: Callable[..., str]) -> None:
    first = own()
    assert own(JUDGE.replace("What it says.", "Something else.")) == first
    assert own(JUDGE + "# a comment\n\n") == first
    assert own(JUDGE, "LIMIT = (\n    0.5\n)\n") == first


def test_code_and_coefficients_count_where_they_are_imported_too(own: Callable[..., str]) -> None:
    first = own()
    assert own(JUDGE.replace("helper.LIMIT", "1 - helper.LIMIT")) != first
    assert own(JUDGE, "LIMIT = 0.6\n") != first
    assert own(JUDGE, HELPER + "OTHER = None\n") != first


def test_the_folder_of_a_module_does_not_count(own: Callable[..., str], tmp_path: Path) -> None:
    judge = JUDGE.replace("own_judge import helper", "own_judge.helper import LIMIT")
    judge = judge.replace("helper.LIMIT", "LIMIT")
    first = own(judge)
    folder = tmp_path / "own_judge" / "inner"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "helper.py").write_text(HELPER)
    moved = judge.replace("own_judge.helper", "own_judge.inner.helper")
    assert own(moved) == first
    (folder / "helper.py").write_text("LIMIT = 0.6\n")
    assert own(moved) != first


def test_each_judge_has_its_own_version() -> None:
    versions = {judge.name: judge_version(judge, "drawn") for judge in JUDGES}
    assert len(set(versions.values())) == len(JUDGES)


def test_what_a_detector_does_is_part_of_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    source = version._source
    monkeypatch.setattr(version, "_source", lambda name: read.append(name) or source(name))
    _forget()
    judge_version(next(judge for judge in JUDGES if judge.name == "limbs"), "drawn")
    assert {"metrics.judges.limbs", "metrics.figure.figure", "metrics.detectors.mediapipe"} <= set(
        read
    )
    assert "metrics.detectors.models" not in read


def test_scores_carry_the_version(detectors: Detectors, sampled: Callable[..., Sample]) -> None:
    (scored,) = score_samples([sampled(np.zeros((64, 64, 3), np.uint8))], detectors)
    for judge in JUDGES:
        assert scored.scores[judge.name].version == judge_version(judge, "drawn")


def test_every_judge_names_the_models_that_it_asks(
    detectors: Detectors, rendered: Callable[..., list[Image]], sampled: Callable[..., Sample]
) -> None:
    """With a model of the settings taken away, a judge that asks it abstains, and no other."""
    (image,) = rendered(1, 12)
    sample = sampled(image, "1girl, red shirt", sex="female", framing="full")
    settings = {"gender_model": "zero_shot", "person_model": "persons"}
    for judge in JUDGES:
        used: set[str] = set()

        class Watched(Detectors):
            pose, hands, parts = detectors.pose, detectors.hands, detectors.parts
            zero_shot, persons = None, None

            def __getattribute__(self, name: str, used: set[str] = used) -> object:
                used.add(name)
                return super().__getattribute__(name)

        judge.score(
            sample, Evidence(sample, Watched(JudgeSettings(gender_model="any", domain="drawn")))
        )
        wanted = {setting for setting, detector in settings.items() if detector in used}
        assert wanted == set(judge.models), judge.name


class Recorded(dict[str, Score]):
    """Scores that remember which judges they were asked for."""

    def __init__(self, scores: dict[str, Score]) -> None:
        super().__init__(scores)
        self.used: set[str] = set()

    def __getitem__(self, name: str) -> Score:
        self.used.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Score | None = None) -> Score | None:  # type: ignore[override]
        self.used.add(name)
        return super().get(name, default)


def test_the_judges_behind_each_number_are_those_it_is_made_of(
    detectors: Detectors, rendered: Callable[..., list[Image]], sampled: Callable[..., Sample]
) -> None:
    (image,) = rendered(1, 12)
    (scored,) = score_samples(
        [sampled(image, "1girl, red shirt", sex="female", framing="full")], detectors
    )
    aged = {**scored.scores, "adult": Score("adult", 1.0)}  # drawings are not judged
    assert set(JUDGED_BY) == {*FORMULAS, *rates([type(scored)(scored.sample, aged)])}
    assert set(rates([scored])) == {"undressed_rate", "explicit_rate"}
    for name, formula in FORMULAS.items():
        recorded = Recorded(dict(scored.scores))
        formula.cells([type(scored)(scored.sample, recorded)])
        assert recorded.used == set(JUDGED_BY[name]), name
    without = {
        name: Score(name, None, "no figure") if name != "cloth_share" else Score(name, 0.0)
        for name in scored.scores
    }
    bare = rates([type(scored)(scored.sample, without)])
    assert (bare["undressed_rate"].n, bare["explicit_rate"].n) == (1, 0)
    assert objectives([scored], None)["pose"].n == 1


def test_a_judge_outside_the_package_has_a_version(own: Callable[..., str]) -> None:
    assert len(own()) == 12
    assert isinstance(sys.modules["own_judge.judge"].JUDGE, Judge)
