"""The measures of sets in a study: their reference, and measures that are objectives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metrics import open_detectors
from metrics.contract import OBJECTIVES, Features, Prompt, Sample, Score, ScoredSample
from metrics.objectives import objectives
from metrics.scoring import JUDGES
from metrics.sets.identity import FaceReference
from tuner.data import TrainingSet, read_folder
from tuner.errors import ConfigError
from tuner.judging.models import judge_settings
from tuner.mannequin import draw
from tuner.mannequin.render import random_figure
from tuner.models import BaseModel
from tuner.space import StudyConfig, SuiteConfig
from tuner.storage import Store, StudyFolder
from tuner.storage.folder import RungFolder
from tuner.storage.rows import RungRow
from tuner.trial import Workbench
from tuner.trial.keep import write_pictures
from tuner.trial.setup import base_scored, held_out_features
from tuner.trial.workbench import summarise
from tuner.worker.attempts import require_objectives

SUITE = SuiteConfig(prompts=(Prompt("1girl", "female"), Prompt("1boy", "male")), seeds=4)


def suite(y: float, seed: int) -> list[ScoredSample]:
    """Figures about `y` in the frame, sound for every judge."""
    rng = np.random.default_rng(seed)
    samples = []
    for prompt, number in SUITE.cells():
        joints = rng.normal((0.5, y), 0.03, (13, 2))
        box = np.array([0.3, y - 0.2, 0.7, y + 0.2])
        features = Features(
            "full",
            rng.random((8, 8, 3)).astype(np.float16),
            box.astype(np.float16),
            joints.astype(np.float16),
        )
        sample = Sample(prompt, number, np.zeros((8, 8, 3), np.uint8))
        scores = {judge.name: Score(judge.name, 1.0) for judge in JUDGES}
        samples.append(ScoredSample(sample, scores, features))
    return samples


@pytest.fixture
def bench_of(base: BaseModel, training_set: TrainingSet) -> Callable[..., Workbench]:
    detectors = open_detectors(judge_settings(None, None))

    def made(*names: str) -> Workbench:
        with detectors as judges:
            return Workbench(
                base,
                {None: training_set},
                SUITE,
                judges,
                base_scored=suite(0.3, 1),
                reference=suite(0.6, 2),
                objectives=names,
            )

    return made


def test_a_measure_that_is_asked_for_stands_among_the_objectives(
    bench_of: Callable[..., Workbench],
) -> None:
    bench = bench_of("pose", "layout")
    assert bench.base_scored is not None
    near, far = (summarise(bench, suite(y, 3), bench.base_scored) for y in (0.6, 0.32))
    assert set(near.objectives) == {*OBJECTIVES, "layout"}
    assert near.objectives["layout"].value > 0.9
    assert near.objectives["layout"].value == near.measures["layout"].value
    assert near.objectives["layout"].value > far.objectives["layout"].value + 0.5


def test_the_four_objectives_are_those_of_before_and_the_default(
    bench_of: Callable[..., Workbench],
) -> None:
    bench, scored = bench_of(*OBJECTIVES), suite(0.5, 4)
    scores = summarise(bench, scored, bench.base_scored)
    assert scores.objectives == objectives(scored, bench.base_scored)
    assert StudyConfig.model_fields["objectives"].default == OBJECTIVES


@pytest.mark.parametrize("name", ["layout", "likeness"])
def test_an_objective_without_a_number_ends_the_run_before_the_first_trial(
    name: str, bench_of: Callable[..., Workbench], tmp_path: Path
) -> None:
    folder = StudyFolder(tmp_path / "pose")
    folder.create()
    bench, rung = bench_of("pose", name), RungFolder(folder.base)
    assert bench.base_scored is not None
    rung.samples.mkdir(parents=True)
    kept = write_pictures([ready(scored, rung) for scored in bench.base_scored], rung, "mannequin")
    scores = summarise(bench, kept, kept)
    row = RungRow(None, 0, scores.objectives, scores.rates, None, rung.grid, scores.measures)
    with Store(folder.results_db) as store:
        store.put_rung(row, kept)
        if name == "likeness":  # the figures have no embedding
            with pytest.raises(ConfigError, match=r"likeness \(.+\) cannot be measured here: drop"):
                require_objectives(bench.objectives, store.rungs(None)[0])
        else:
            require_objectives(bench.objectives, store.rungs(None)[0])
            assert store.rungs(None)[0].objectives[name].value == 0.0
        assert list(base_scored(bench, folder)) == []  # read back, not drawn again


def ready(scored: ScoredSample, rung: RungFolder) -> ScoredSample:
    """The sample with the path at which its picture will lie."""
    cell = scored.sample.seed + 4 * (scored.sample.prompt.sex == "male")
    return replace(scored, sample=replace(scored.sample, path=rung.sample(cell)))


def with_face(who: int, seed: int) -> list[ScoredSample]:
    """The suite with a face of the person `who` in each picture; 0: of somebody else each time."""
    rng = np.random.default_rng(seed)
    found = []
    for item in suite(0.3, seed):
        assert item.features is not None
        middle = np.random.default_rng(who).normal(size=64) if who else rng.normal(size=64) * 2
        face = (middle + 0.3 * rng.normal(size=64)).astype(np.float16)
        features = replace(item.features, faces=1, face=face)
        found.append(replace(item, features=features))
    return found


def test_identity_is_measured_with_the_persons_photographs(
    bench_of: Callable[..., Workbench],
) -> None:
    photographs = [item.features.face for item in with_face(7, 5) if item.features is not None]
    faces = FaceReference(np.array(photographs, np.float64), (None,) * 8, 8)
    base = with_face(0, 1)
    bench = replace(bench_of("pose", "identity"), base_scored=base, faces=faces)
    person, other = (summarise(bench, with_face(who, 3), base) for who in (7, 8))
    assert set(person.objectives) == {*OBJECTIVES, "identity"}
    assert person.objectives["identity"].value > 0.8
    assert other.objectives["identity"].value < 0.5
    assert person.measures["one_face"].value == 1.0
    drawn = FaceReference(np.zeros((0, 1)), (), 8, "drawn faces carry no identity")
    without = summarise(replace(bench, faces=drawn), suite(0.3, 3), suite(0.3, 1))
    assert without.measures["identity"].note == "drawn faces carry no identity"
    row = RungRow(None, 0, without.objectives, {}, None, Path("grid.png"), without.measures)
    with pytest.raises(ConfigError, match="identity \\(drawn faces carry no identity\\) cannot be"):
        require_objectives(("pose", "identity"), row)


def test_the_reference_is_what_no_training_set_trains_on(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(30):
        figure = random_figure(rng)
        Image.fromarray(draw(figure)).save(tmp_path / f"{number:02d}.png")
        (tmp_path / f"{number:02d}.txt").write_text(", ".join(figure.tags))
    whole = read_folder(tmp_path)
    assert len(whole.held_out) == 3
    with open_detectors(judge_settings("mannequin", None, domain="drawn")) as judges:
        reference = held_out_features([whole], judges)
        leaking = replace(whole, images=(*whole.images, whole.held_out[0]))
        fewer = held_out_features([whole, leaking], judges)
    assert {scored.sample.prompt.text for scored in reference} == {
        image.caption for image in whole.held_out
    }
    assert len(fewer) == 2
    for scored in reference:
        prompt = scored.sample.prompt
        assert prompt.sex == ("female" if prompt.text.startswith("1girl") else "male")
        assert prompt.framing is None
        assert scored.sample.image.size == 0
        assert scored.features is not None
        assert scored.features.embedding is not None
        assert scored.features.box is not None
