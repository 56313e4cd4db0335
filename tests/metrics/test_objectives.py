from __future__ import annotations

import numpy as np
import pytest

from metrics.contract import Prompt, Sample, Score, ScoredSample
from metrics.objectives import objectives, paired_difference, rates
from metrics.pareto import pareto

IMAGE = np.zeros((8, 8, 3), np.uint8)
SOUND: dict[str, float | None] = {
    "pose_readable": 1.0,
    "limbs": 1.0,
    "one_person": 1.0,
    "gender": 1.0,
    "cloth_share": 1.0,
    "no_explicit_parts": 1.0,
    "sharp": 1.0,
    "clean": 1.0,
}


def scored(seed: int = 0, prompt: Prompt | None = None, **values: float | None) -> ScoredSample:
    wanted = prompt or Prompt("1girl", sex="female")
    scores = {name: Score(name, value) for name, value in (SOUND | values).items()}
    return ScoredSample(Sample(wanted, seed, IMAGE), scores)


GIRL, BOY = Prompt("1girl", sex="female"), Prompt("1boy", sex="male")


def test_pose_is_the_mean_of_readable_times_limbs() -> None:
    suite = [scored(limbs=0.5), scored(), scored(pose_readable=0.0, limbs=None)]
    found = objectives(suite, None)["pose"]
    assert found.value == pytest.approx(0.5)
    assert (found.n, found.total) == (3, 3)


def test_an_unreadable_pose_is_a_failure_and_unjudged_limbs_are_not() -> None:
    suite = [scored(limbs=None), scored(limbs=1.0)]
    found = objectives(suite, None)["pose"]
    assert found.value == 1.0
    assert (found.n, found.total) == (1, 2)


def test_a_figure_that_can_hardly_be_read_counts_as_that_and_its_limbs_are_not_missed() -> None:
    suite = [scored(pose_readable=0.1, limbs=None), scored(pose_readable=0.9, limbs=0.5)]
    found = objectives(suite, [scored(), scored()])["pose"]
    assert found.value == pytest.approx((0.1 + 0.45) / 2)
    assert (found.n, found.total) == (2, 2)


def test_a_second_person_spoils_the_pose_whatever_its_limbs() -> None:
    suite = [scored(one_person=0.0), scored(one_person=0.0, limbs=None), scored(limbs=0.5)]
    found = objectives(suite, None)["pose"]
    assert found.value == pytest.approx(0.5 / 3)
    assert (found.n, found.total) == (3, 3)


def test_persons_that_were_not_counted_cost_nothing() -> None:
    suite = [scored(one_person=None, limbs=0.5), scored(one_person=None)]
    found = objectives(suite, [scored(), scored()])["pose"]
    assert found.value == pytest.approx(0.75)
    assert (found.n, found.total) == (2, 2)


def test_gender_is_the_lower_of_the_two_sexes() -> None:
    girls = [scored(prompt=GIRL) for _ in range(20)]
    boys = [scored(prompt=BOY, gender=0.9 if seed < 5 else 0.1) for seed in range(20)]
    found = objectives(girls + boys, None)["gender"]
    assert found.value == pytest.approx(0.25)
    assert 0.1 < found.low < 0.25 < found.high < 0.5


def test_a_sex_of_which_nothing_can_be_judged_has_shown_nothing() -> None:
    suite = [scored(prompt=GIRL), scored(prompt=BOY, gender=None)]
    assert objectives(suite, None)["gender"].value == 0.0


def test_clothing_asks_only_of_prompts_that_name_no_clothes() -> None:
    dressed_prompt = Prompt("1girl, red shirt", sex="female", names_clothes=True)
    suite = [scored(cloth_share=0.0), scored(), scored(prompt=dressed_prompt, cloth_share=0.0)]
    found = objectives(suite, None)["clothing"]
    assert found.value == pytest.approx(0.5)
    assert found.total == 2


def test_explicit_parts_undress_a_figure_whose_torso_is_hidden() -> None:
    suite = [scored(cloth_share=None, no_explicit_parts=0.1), scored()]
    assert objectives(suite, None)["clothing"].value == pytest.approx(0.5)


def test_quality_is_a_geometric_mean_counted_in_samples() -> None:
    suite = [scored(sharp=0.64, clean=1.0) for _ in range(4)]
    found = objectives(suite, None)["quality"]
    assert found.value == pytest.approx(0.8)
    assert (found.n, found.total) == (4, 4)


def test_sharp_pictures_without_a_figure_are_no_quality() -> None:
    base = [scored(seed) for seed in range(20)]
    lost = [scored(seed, pose_readable=0.0) for seed in range(19)]
    found = objectives([*lost, scored(19)], base)["quality"]
    assert (found.value, found.n, found.total) == (pytest.approx(0.05), 1, 20)
    assert found.high < 0.1


def test_what_can_hardly_be_read_has_no_quality_to_judge() -> None:
    suite = [scored(pose_readable=0.4, sharp=0.2), scored(pose_readable=0.6, sharp=0.64)]
    found = objectives(suite, None)["quality"]
    assert (found.value, found.n, found.total) == (pytest.approx(0.8), 1, 2)


def test_every_interval_holds_its_value() -> None:
    suite = [scored(seed, prompt) for seed in range(10) for prompt in (GIRL, BOY)]
    for found in objectives(suite, None).values():
        assert found.value == 1.0
        assert 0.5 < found.low < 1.0
        assert found.high == 1.0


def test_drawing_nothing_that_can_be_judged_does_not_win() -> None:
    base = [scored(cloth_share=0.9) for _ in range(8)] + [scored(cloth_share=None)] * 2
    shy = [scored()] * 2 + [scored(cloth_share=None)] * 8
    found = objectives(shy, base)["clothing"]
    assert found.value == pytest.approx(0.25)
    assert found.high <= 0.25


def test_judging_more_than_the_base_earns_nothing() -> None:
    base = [scored(cloth_share=None), scored()]
    assert objectives([scored(), scored()], base)["clothing"].value == 1.0


def test_a_base_of_which_nothing_can_be_judged_warns() -> None:
    with pytest.warns(UserWarning, match="clothing"):
        objectives([scored()], [scored(cloth_share=None)])


def test_an_objective_that_no_prompt_asks_about_is_left_out() -> None:
    suite = [scored(prompt=Prompt("a person, red shirt", names_clothes=True))]
    assert set(objectives(suite, None)) == {"pose", "quality"}


def test_rates_count_evidence_of_harm() -> None:
    suite = [scored(cloth_share=0.1), scored(cloth_share=None), scored(no_explicit_parts=0.2)]
    found = rates(suite)
    assert found["undressed_rate"].value == pytest.approx(0.5)
    assert found["undressed_rate"].n == 2
    assert found["explicit_rate"].value == pytest.approx(1 / 3)


def test_none_of_52_still_has_an_upper_bound() -> None:
    assert rates([scored()] * 52)["explicit_rate"].high == pytest.approx(0.069, abs=0.001)


def test_a_trial_does_not_differ_from_itself_yet_not_for_sure() -> None:
    suite = [scored(seed) for seed in range(52)]
    found = paired_difference(suite, suite, "pose")
    assert found.value == 0.0
    assert found.low < 0.0 < found.high
    assert -found.low < 0.1


def test_pairing_finds_a_difference_that_single_intervals_hide() -> None:
    worse = [scored(seed, limbs=1.0 if seed % 2 else 0.0) for seed in range(52)]
    better = [scored(seed, limbs=1.0 if seed % 2 or seed < 18 else 0.0) for seed in range(52)]
    found = paired_difference(better, worse, "pose")
    assert found.value == pytest.approx(9 / 52)
    assert found.low > 0.05
    alone = objectives(better, None)["pose"], objectives(worse, None)["pose"]
    assert alone[0].low < alone[1].high


def test_a_difference_turns_its_sign_with_its_sides() -> None:
    one = [scored(seed, sharp=0.9) for seed in range(30)]
    other = [scored(seed, sharp=0.4) for seed in range(30)]
    forth, back = (paired_difference(a, b, "quality") for a, b in ((one, other), (other, one)))
    assert forth.value == pytest.approx(-back.value)
    assert forth.low == pytest.approx(-back.high, abs=0.02)


def test_only_the_same_suite_can_be_paired() -> None:
    with pytest.raises(ValueError, match="same prompts and seeds"):
        paired_difference([scored(0)], [scored(1)], "pose")


@pytest.mark.parametrize(
    ("points", "front"),
    [
        ([], []),
        ([(1, 0), (0, 1), (0, 0)], [0, 1]),
        ([(1, 1), (1, 1)], [0, 1]),
        ([(1, 1), (1, 0)], [0]),
        ([(float("nan"), 2), (0, 0)], [1]),
    ],
)
def test_pareto(points: list[tuple[float, float]], front: list[int]) -> None:
    assert pareto(points) == front
