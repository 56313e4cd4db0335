from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import world
from PIL import Image
from world_arms import ALL, BASE, EFFECTS, FEW, GENDER, LONG, Arm, Comparison, Effect, Scale
from world_measures import MEASURES, Memory, collapsed, copies, measure
from world_plots import plot_effect
from world_report import ArmMeasures, best_known, compare, paired, report, verdict
from world_runs import (
    FIRST_JUDGES,
    Run,
    all_runs,
    arm_key,
    fingerprint,
    finished,
    grouped,
    judges_digest,
    judges_in,
    keep,
)

from metrics.contract import Prompt, Sample, Score, ScoredSample
from tuner.mannequin.dataset import VARIANTS
from tuner.results.verdicts import SeedDifference
from tuner.storage import shipped

SCALE = Scale()
ARMS = {arm.name: arm for effect in EFFECTS for arm in effect.arms}


def test_every_experiment_of_the_series_is_there() -> None:
    assert [effect.letter for effect in EFFECTS] == list("abcdefghi")
    for effect in EFFECTS:
        assert effect.comparisons[0].expected in ("higher", "lower"), effect.letter
        assert {one.measure for one in effect.comparisons} <= set(MEASURES)


def test_names_of_arms_stand_for_what_they_do() -> None:
    pairs = {(arm.name, arm_key(arm, SCALE, "")) for effect in EFFECTS for arm in effect.arms}
    assert len(pairs) == len(dict(pairs)) == len({key for _, key in pairs})


@pytest.mark.parametrize("name", sorted(ARMS))
def test_every_arm_can_be_run(name: str) -> None:
    arm = ARMS[name]
    assert arm.train_config(3).seed == 3
    assert arm.data in VARIANTS
    assert len(arm.suite_config(SCALE, 3).cells()) == 13 * SCALE.noise_seeds


def differing(arm: Arm, other: Arm) -> set[str]:
    """The settings in which two arms differ."""
    mine, its = (each.train_config(0).model_dump() for each in (arm, other))
    changed = {name for name in mine if mine[name] != its[name]}
    changed |= {n for n in ("data", "times", "lora") if getattr(arm, n) != getattr(other, n)}
    suite, its_suite = (each.suite_config(SCALE, 0) for each in (arm, other))
    return changed | {n for n in ("prompts", "size") if getattr(suite, n) != getattr(its_suite, n)}


def test_one_thing_changes_at_a_time() -> None:
    for effect in EFFECTS:
        for one in effect.comparisons:
            changed = differing(one.arm, one.against)
            if "lora" in changed:  # the base has no training to change
                assert not changed & {"prompts", "size"}, one
            elif effect.letter == "f" and one.against is GENDER and "prompts" in changed:
                assert changed == {"alias", "prompts"}  # the LoRA as it is meant to be used
            else:
                assert len(changed) == 1, (one.arm.name, one.against.name, changed)


def test_each_training_seed_has_noise_of_its_own_and_all_arms_share_it() -> None:
    first, second = (GENDER.suite_config(SCALE, seed).cells() for seed in (0, 1))
    assert {seed for _, seed in first} == set(range(SCALE.noise_seeds))
    assert {seed for _, seed in second} == set(range(SCALE.noise_seeds, 2 * SCALE.noise_seeds))
    assert BASE.suite_config(SCALE, 1).cells() == second


def test_a_training_serves_all_lengths_and_suites_of_its_arm() -> None:
    chosen = [effect for effect in EFFECTS if effect.letter in "eh"]
    runs = all_runs(chosen, (2, 1), SCALE, "")
    groups = grouped(runs)
    assert sum(map(len, groups)) == len(runs) == len(set(map(repr, runs)))
    assert [group[0].arm.lora for group in groups].count(False) == 2, "the base, a seed each"
    assert not groups[0][0].arm.lora
    (first,) = [g for g in groups if g[0].arm.name == FEW.name and g[0].seed == 0]
    assert [run.arm.name for run in first] == [FEW.name, LONG.name]
    (second,) = [g for g in groups if g[0].seed == 0 and ALL in [run.arm for run in g]]
    assert "all tags, sampled at 96" in {run.arm.name for run in second}
    assert [run.seed for run in runs if run.arm is LONG] == [0]


def test_a_key_changes_with_what_changes_the_numbers_and_not_with_the_name() -> None:
    key = arm_key(ALL, SCALE, "w")
    assert arm_key(Arm("renamed"), SCALE, "w") == key
    others = [arm_key(ALL, Scale(steps=100), "w"), arm_key(ALL, Scale(noise_seeds=2), "w")]
    others += [arm_key(ALL, SCALE, "other weights"), arm_key(ALL, Scale(10 * SCALE.steps), "w")]
    others += [arm_key(Arm("", data="matted"), SCALE, "w")]
    assert len({key, *others}) == 5 + 1
    assert arm_key(LONG, SCALE, "w") == arm_key(FEW, Scale(10 * SCALE.steps), "w")
    assert arm_key(BASE, SCALE, "w") == arm_key(BASE, Scale(steps=7), "w")


def test_the_fingerprint_is_of_the_weights(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "a").write_text("1")
    before = fingerprint(tmp_path)
    assert fingerprint(tmp_path) == before
    (tmp_path / "base" / "a").write_text("2")
    assert fingerprint(tmp_path) != before


def test_a_finished_run_is_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = [effect for effect in EFFECTS if effect.letter == "b"]
    lines = tmp_path / "world.jsonl"
    for run in all_runs(chosen, (2, 2), SCALE, fingerprint(tmp_path)):
        keep(lines, run, {"pose": 0.5, "undressed": 0.1 * run.seed, "blur": None}, 1.23)
    before = lines.read_text()
    monkeypatch.setattr(world, "load_base", lambda *_: pytest.fail("nothing is left to run"))
    world.main(f"--only b --seeds 2 --results {tmp_path} --weights {tmp_path}".split())
    assert lines.read_text() == before
    text = (tmp_path / "world.md").read_text()
    assert "## (b)" in text
    assert "## (i)" not in text
    assert "+0.000 (+0.000 to +0.000) | 2 | higher | not shown |" in text


def test_lines_are_read_as_they_were_kept(tmp_path: Path) -> None:
    lines = tmp_path / "deep" / "world.jsonl"
    now = judges_digest()
    assert finished(lines, now) == {}
    assert judges_in(lines) == []
    keep(lines, Run(ALL, 3, "k"), {"pose": 0.25, "changed": None}, 61.23)
    keep(lines, Run(ALL, 4, "k"), collapsed(), 1.0)
    assert finished(lines, now)["k", 3] == {"pose": 0.25, "changed": None}
    assert finished(lines, now)["k", 4]["quality"] == 0.0
    assert json.loads(lines.read_text().splitlines()[0])["seconds"] == 61.2


def test_runs_of_other_judges_are_kept_and_not_compared(tmp_path: Path) -> None:
    lines = tmp_path / "world.jsonl"
    keep(lines, Run(ALL, 0, "k"), {"pose": 0.5}, 1.0)
    line = json.loads(lines.read_text())
    del line["judges"]
    lines.write_text(json.dumps(line | {"measures": {"pose": 0.9}}) + "\n")
    keep(lines, Run(ALL, 0, "k"), {"pose": 0.5}, 1.0)
    now = judges_digest()
    assert judges_in(lines) == [FIRST_JUDGES, now]
    assert finished(lines, FIRST_JUDGES) == {("k", 0): {"pose": 0.9}}
    assert finished(lines, now) == {("k", 0): {"pose": 0.5}}


def test_an_experiment_is_reported_by_the_judges_that_know_most_of_it() -> None:
    effect = Effect("x", "?", (Comparison(ALL, BASE, "pose", "higher"),))
    few: ArmMeasures = {arm.name: {0: {"pose": 0.5}} for arm in (ALL, BASE)}
    many: ArmMeasures = {arm.name: {0: {"pose": 0.5}, 1: {"pose": 0.4}} for arm in (ALL, BASE)}
    assert best_known(effect, {"old": many, "new": few}) == "old"
    assert best_known(effect, {"old": many, "new": many}) == "new"
    assert best_known(effect, {"old": {ALL.name: {0: {"pose": 0.5}}}}) is None


@pytest.mark.parametrize("only", ["z", "a,k", ""])
def test_an_unknown_letter_is_reported(only: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        world.parse(["--only", only])
    assert "allowed: a, b, c" in capsys.readouterr().err


def test_the_paired_interval_is_students() -> None:
    difference = paired({0: 1.0, 1: 2.0, 2: 3.0, 9: 50.0}, {0: 0.0, 1: 0.0, 2: 0.0, 7: 0.0})
    assert difference is not None
    assert difference.n == 3
    assert difference.value == 2.0
    assert difference.high - 2.0 == pytest.approx(4.302653 / math.sqrt(3))  # t of 2 degrees
    assert paired({0: 1.0}, {1: 1.0}) is None
    single = paired({0: 1.0}, {0: 0.0})
    assert single is not None
    assert math.isinf(single.high)


@pytest.mark.parametrize(
    ("expected", "interval", "word"),
    [
        ("higher", (0.01, 0.3), "shown"),
        ("higher", (-0.01, 0.3), "not shown"),
        ("higher", (-0.3, -0.01), "the other way"),
        ("lower", (-0.3, -0.01), "shown"),
        ("alike", (-0.09, 0.05), "shown"),
        ("alike", (-0.09, 0.15), "not shown"),
        ("alike", (0.11, 0.15), "the other way"),
        ("open", (0.01, 0.15), "higher"),
        ("open", (-0.01, 0.15), "no difference shown"),
    ],
)
def test_the_verdict(expected: str, interval: tuple[float, float], word: str) -> None:
    low, high = interval
    one = Comparison(ALL, BASE, "pose", expected)  # type: ignore[arg-type]
    assert verdict(one, SeedDifference((low + high) / 2, low, high, 0.01, 5)) == word
    assert verdict(one, None) == "not run"
    single = SeedDifference(0.2, -math.inf, math.inf, 1.0, 1)
    assert verdict(one, single) == "one seed shows nothing"


def drawn(number: int, prompt: Prompt, blur: float = 0.3, **scores: float | None) -> ScoredSample:
    pixels = np.random.default_rng(number).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    names = ("pose_readable", "limbs", "one_person", "gender", "cloth_share", "no_explicit_parts")
    values = {**dict.fromkeys([*names, "clean"], 1.0), **scores}
    judged = {name: Score(name, value) for name, value in values.items()}
    judged["sharp"] = Score("sharp", 1.0, None, {"blur_effect": blur})
    return ScoredSample(Sample(prompt, 0, pixels), judged)


def test_measures_of_a_run() -> None:
    girl, boy = Prompt("1girl", "female"), Prompt("1boy", "male")
    dressed = Prompt("1girl, red shirt", "female", names_clothes=True)
    base = [drawn(1, girl), drawn(2, boy), drawn(3, boy), drawn(4, dressed)]
    scored = [
        drawn(1, girl, cloth_share=0.1),
        drawn(2, boy, gender=0.2, blur=0.7),
        drawn(3, boy, cloth_share=None),
        drawn(5, dressed, limbs=0.0, cloth_share=0.0),
    ]
    memory = Memory(np.zeros((2, 32 * 32 * 3)), np.ones((2, 32 * 32 * 3)))
    found = measure(scored, base, memory)
    assert set(found) == set(MEASURES)
    assert found["undressed"] == 0.5, "of the two bare prompts that could be judged"
    assert found["boys right"] == 0.5
    assert found["girls right"] == 1.0
    assert found["pose"] == 0.75
    assert found["blur"] == 0.4
    changed = found["changed"]
    assert changed is not None
    assert changed == pytest.approx(math.sqrt(1 / 6) / 4, abs=0.005), "one of four, of pure noise"
    assert measure(base, base, memory)["changed"] == 0.0


def test_copies_are_told_from_pictures_of_the_same_kind() -> None:
    random = np.random.default_rng(0)
    trained, unseen, own = (
        [random.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in range(40)] for _ in range(3)
    )
    memory = Memory(*(np.stack(each).reshape(40, -1) / 255 for each in (trained, unseen)))
    blurred = [np.clip(one.astype(int) + 9, 0, 255).astype(np.uint8) for one in trained]
    assert copies(blurred, memory) == 1.0
    assert copies(unseen, memory) == 0.0
    assert 0.15 < copies(own, memory) < 0.85


def made_up(effect: Effect) -> ArmMeasures:
    random = np.random.default_rng(1)
    return {
        arm.name: {
            seed: {name: 0.3 * arm.lora + random.uniform(0.4, 0.5) for name in MEASURES}
            for seed in range(5)
        }
        for arm in effect.arms
    }


def test_the_page_tells_what_is_shown_and_what_is_not_run() -> None:
    first = EFFECTS[0]
    found = made_up(first)
    assert verdict(first.comparisons[0], compare(first.comparisons[0], found)) == "shown"
    text = report([(effect, "now") for effect in EFFECTS[:2]], {"now": found}, SCALE)
    assert "| gender tags | base | pose | 0.7" in text
    assert "| 5 | higher | shown |" in text
    assert "not run" in text
    assert "![(a)](world/a.png)" in text


def test_a_plot_is_written_even_where_arms_are_missing(tmp_path: Path) -> None:
    effect = EFFECTS[3]
    found = made_up(effect)
    del found["base"]
    found["all tags"] = {0: {"quality": 0.5, "pose": None}}
    plot_effect(effect, found, tmp_path / "plots" / "d.png")
    with Image.open(tmp_path / "plots" / "d.png") as picture:
        assert picture.width > picture.height
    assert len(list((tmp_path / "plots").iterdir())) == 1


@pytest.mark.slow
@pytest.mark.skipif(not (shipped.BASE / "model_index.json").is_file(), reason="no weights here")
def test_the_command_runs_goes_on_and_tells(tmp_path: Path, few_pictures: None) -> None:
    options = f"--seeds 1 --steps 2 --noise-seeds 1 --results {tmp_path} --grids {tmp_path}/grids"
    world.main(["--only", "a", "--workers", "1", *options.split()])
    first = finished(tmp_path / "world.jsonl", judges_digest())
    assert len(first) == len(EFFECTS[0].arms)
    world.main(["--only", "a,b", "--workers", "1", *options.split()])
    assert set(first) < set(finished(tmp_path / "world.jsonl", judges_digest()))
    assert all((tmp_path / name).is_file() for name in ("world/a.png", "grids/gender tags.png"))
    assert "one seed shows nothing" in (tmp_path / "world.md").read_text()
    assert "matplotlib" in sys.modules
