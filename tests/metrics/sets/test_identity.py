from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from metrics.contract import Features, Measure, Prompt, Sample, ScoredSample, Sex
from metrics.sets.identity import UNREAD, FaceReference, identity, one_face
from metrics.sets.measures import as_objective, measures

EMPTY = np.zeros((8, 8, 3), np.uint8)
HER, HIM, OTHERS = 1, 2, 3
WIDTH = 64


def faces(who: int, count: int, seed: int, spread: float = 0.35) -> np.ndarray:
    """Vectors of pictures of one person, or, of OTHERS, of a person each."""
    rng = np.random.default_rng(seed)
    middle = np.random.default_rng(who).normal(size=WIDTH)
    if who == OTHERS:
        return rng.normal(size=(count, WIDTH)) / WIDTH**0.5
    around = middle / np.linalg.norm(middle) + spread * rng.normal(size=(count, WIDTH)) / WIDTH**0.5
    return np.asarray(around)


def suite(
    vectors: Sequence[np.ndarray | None], counts: Sequence[int] | None = None, sex: Sex = "female"
) -> list[ScoredSample]:
    thumbnail = np.zeros((8, 8, 3), np.float16)
    counts = [0 if v is None else 1 for v in vectors] if counts is None else counts
    return [
        ScoredSample(
            Sample(Prompt(f"1girl, {cell // 4}", sex), cell % 4, EMPTY),
            {},
            Features(
                "half",
                thumbnail,
                faces=count,
                face=None if vector is None else vector.astype(np.float16),
            ),
        )
        for cell, (vector, count) in enumerate(zip(vectors, counts, strict=True))
    ]


def reference(who: int = HER, count: int = 10, sex: Sex | None = None) -> FaceReference:
    return FaceReference(faces(who, count, 7), (sex,) * count, count)


BASE = suite(list(faces(OTHERS, 24, 1)))


def value(found: Measure) -> float:
    assert found.value is not None, found.note
    assert found.low is not None
    assert found.high is not None
    assert 0.0 <= found.low <= found.value <= found.high <= 1.0
    return found.value


def test_the_person_is_one_strangers_are_none_and_a_mixture_lies_between() -> None:
    her, stranger = faces(HER, 24, 2), faces(OTHERS, 24, 3)
    half = [a if cell % 2 else b for cell, (a, b) in enumerate(zip(her, stranger, strict=True))]
    best, none, mixed = (
        value(identity(suite(list(drawn)), BASE, reference())) for drawn in (her, stranger, half)
    )
    assert best > 0.9
    assert none < 0.15
    assert none + 0.25 < mixed < best - 0.25
    assert value(identity(BASE, BASE, reference())) == 0.0


def test_a_picture_without_a_face_costs_its_share() -> None:
    her = list(faces(HER, 24, 2))
    lost = [vector if cell % 2 else None for cell, vector in enumerate(her)]
    small = suite(lost, [1] * 24)  # faces, but too small ones
    whole, without = (identity(suite(drawn), BASE, reference()) for drawn in (her, lost))
    assert value(without) == pytest.approx(value(whole) / 2, abs=0.06)
    assert (without.n, without.total) == (12, 24)
    assert identity(small, BASE, reference()) == without
    nobody = identity(suite([None] * 24), BASE, reference())
    assert (nobody.value, nobody.n, nobody.total) == (0.0, 0, 24)


def test_there_is_no_number_without_enough_faces_to_compare_with() -> None:
    her = suite(list(faces(HER, 24, 2)))
    few = identity(her, BASE, reference(count=4))
    assert few.note == "4 faces in 4 photographs of the person, needed 5"
    empty = FaceReference(np.zeros((0, 1)), (), 12)
    assert identity(her, BASE, empty).note == "0 faces in 12 photographs of the person, needed 5"
    faceless = suite([None] * 20 + list(faces(OTHERS, 4, 1)))
    note = identity(her, faceless, reference()).note
    assert note == "4 of the base's faces are large enough, needed 5"
    drawn = FaceReference(np.zeros((0, 1)), (), 12, "drawn faces carry no identity")
    assert identity(her, BASE, drawn).note == "drawn faces carry no identity"
    assert one_face(suite([]), drawn.note).note == drawn.note
    unread = [replace(one, features=None) for one in her]
    assert identity(unread, BASE, reference()).note == UNREAD
    assert one_face(unread).note == UNREAD


def test_photographs_of_many_persons_have_no_identity() -> None:
    crowd = FaceReference(faces(OTHERS, 12, 9), (None,) * 12, 12)
    found = identity(suite(list(faces(HER, 24, 2))), BASE, crowd)
    assert found.value is None
    assert found.note is not None
    assert "no nearer to each other" in found.note
    drawn = identity(BASE, suite(list(faces(HER, 24, 2))), reference())
    assert drawn.value is None  # the base draws her without a LoRA


def test_prompts_for_the_other_sex_are_left_out_where_captions_name_one() -> None:
    her, him = faces(HER, 12, 2), faces(HIM, 12, 3)
    mixed = [*suite(list(her)), *suite(list(him), sex="male")]
    base = [*BASE[:12], *suite(list(faces(OTHERS, 12, 5)), sex="male")]
    women = identity(mixed, base, reference(sex="female"))
    assert (women.n, women.total) == (12, 12)
    assert value(women) > 0.9
    unnamed = identity(mixed, base, reference())
    assert (unnamed.n, unnamed.total) == (24, 24)
    assert value(unnamed) < 0.7
    pair = FaceReference(
        np.concatenate([faces(HER, 8, 7), faces(HIM, 8, 7)]), ("female",) * 8 + ("male",) * 8, 16
    )
    both = identity(mixed, base, pair)
    assert both.total == 24
    assert value(both) > 0.9
    only_men = suite(list(him), sex="male")
    none = identity(only_men, base[12:], reference(sex="female"))
    assert none.note == "too few faces of a sex asked for in the photographs"


def test_exactly_one_face_is_counted() -> None:
    her = list(faces(HER, 4, 2))
    found = one_face(suite([*her, None, None], [1, 1, 2, 3, 0, 1]))
    assert found.value == 0.5
    assert (found.n, found.total) == (6, 6)
    some = [*suite(her), *(replace(one, features=None) for one in suite(her))]
    assert (one_face(some).value, one_face(some).n, one_face(some).total) == (1.0, 4, 8)


def test_it_is_a_measure_of_the_set_and_an_objective() -> None:
    her = suite(list(faces(HER, 24, 2)))
    found = measures(her, BASE, (), reference())
    objective = as_objective(found["identity"])
    assert objective is not None
    assert objective.value > 0.9
    assert found["one_face"].value == 1.0
    assert measures(her, None, (), reference())["identity"].note == (
        "there is no base to compare with"
    )
    alone = measures(her, BASE)
    assert alone["identity"].note == "there are no photographs of the person to compare with"
    assert alone["one_face"].value == 1.0
