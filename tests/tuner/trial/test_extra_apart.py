"""Nothing that is optimised, stopped, confirmed, chosen or exported by reads what was sampled
beside the suite: with absurd extras a study goes and ends as without."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from metrics.contract import Objective
from tests.tuner.plain_trials import good, new_folder, rung, session, study_config
from tests.tuner.test_architecture import imports, modules
from tuner.report import write_report
from tuner.report.tables import print_extras
from tuner.results import read_results, read_study_data
from tuner.results.answer import answer
from tuner.results.confirmation import candidates
from tuner.results.extras import extra_tables
from tuner.results.results import front, recommended
from tuner.space import StudyConfig, TrainConfig
from tuner.storage import Store, StudyFolder
from tuner.storage.extra_rows import Extra, ExtraRow
from tuner.storage.rows import RungRow
from tuner.study.study import search
from tuner.trial.messages import ExtraScored, Outcome

MAY_READ = {
    "tuner.report.documents",
    "tuner.report.page",
    "tuner.report.tables",
    "tuner.results.extras",
    "tuner.storage.extract",
    "tuner.storage.store",
    "tuner.trial.extra",
    "tuner.trial.messages",
    "tuner.worker.process",
}
"""Who samples extras, tells of them, keeps them and shows them."""

EXTRAS = (Extra("mannequin", "96"), Extra("other", "64"), Extra("mannequin", "64", "mi_cv"))


def absurd(folder: StudyFolder, number: int | None, value: float) -> Iterator[ExtraScored]:
    """Extras that would change every choice if anybody asked them."""
    for extra in EXTRAS:
        scored_rung = replace(rung(folder, number or 0, 20), rates={})
        objectives = {
            name: Objective(name, value, value, value, 2, 2) for name in scored_rung.objectives
        }
        rates = {"undressed_rate": Objective("undressed_rate", 1 - value, 1 - value, 1.0, 2, 2)}
        files = folder.trial(number or 0).rung(20)
        row = RungRow(number, 20 if number is not None else 0, objectives, rates, None, files.grid)
        yield ExtraScored(ExtraRow(extra, row), scored_rung.scored)


def studied(config: StudyConfig, parent: Path, extras: bool) -> tuple[StudyFolder, list[Any]]:
    """A study of three trials, the later the better, whose extras say the opposite."""
    parent.mkdir()
    folder = new_folder(parent)

    def run(number: int, train: TrainConfig) -> Iterator[Outcome]:
        yield from good(folder)(number, train)
        folder.trial(number).rung(20).lora.touch()
        if extras and number == 0:
            yield from absurd(folder, None, 0.5)
        if extras:
            yield from absurd(folder, number, 1.0 - 0.5 * number)

    with session(config, folder) as open_study:
        list(search(open_study, run))
        known = [
            (one.values, one.state, one.constraints, dict(one.user_attrs))
            for one in open_study.memory.trials
        ]
        known.append([one.number for one in open_study.memory.best_trials])
    return folder, known


def chosen(folder: StudyFolder) -> list[Any]:
    """Everything that a study chooses by."""
    results, data = read_results(folder), read_study_data(folder)
    with Store(folder.results_db) as store:
        at_rungs = [
            [(one.trial, one.objectives, one.rates) for one in store.rungs_at(s)] for s in (10, 20)
        ]
        return [
            [one.trial.number for one in front(results)],
            recommended(results).result.trial.number,
            recommended(results).why,
            [(one.state, one.reason) for one in results.trials],
            results.base,
            at_rungs,
            candidates(results, 3),
            store.judge_versions(),
            [len(store.samples(one, 20)) for one in range(3)],
            store.fresh(),
            replace(answer(data), gains=(), rates=()),
            [(one.name, one.trial, one.difference) for one in answer(data).gains],
        ]


def test_a_study_goes_and_ends_as_without_extras(tmp_path: Path) -> None:
    config = study_config(tmp_path)
    plain, alone = studied(config, tmp_path / "plain", extras=False)
    beside, same = studied(config, tmp_path / "beside", extras=True)
    assert same == alone
    assert chosen(beside) == chosen(plain)
    assert chosen(plain)[1] == 2
    assert [one.trial for one in chosen(plain)[6]] == [2, 1, 0]
    with Store(beside.results_db) as store:
        assert len(store.extras()) == 12
        trials = [one.rung.trial for one in store.extras()]
        assert trials == [who for who in (None, 0, 1, 2) for _ in EXTRAS]
        assert len(store.extra_samples(store.extras()[-1])) == 2


def test_the_table_tells_them_apart_from_the_suite(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = studied(study_config(tmp_path), tmp_path / "beside", extras=True)
    results = read_results(folder)
    tables = extra_tables(folder, results)
    assert [one.title for one in tables] == [
        "with the alias mi_cv",
        "at 96 px",
        "on the base other",
    ]
    for table in tables:
        assert [one.trial for one in table.lines] == [
            *(one.trial.number for one in front(results)),
            None,
        ]
        first = next(one for one in table.lines if one.trial == 0)
        assert first.numbers["pose"].value == 1.0
        assert first.numbers["undressed_rate"].value == 0.0
    print_extras(folder, read_results(folder), plain=True)
    shown = capsys.readouterr().out
    assert shown.count("not optimised:") == 3
    page = write_report(folder).read_text(encoding="utf-8")
    assert "Beside the suite" in page
    assert "With the alias mi_cv" in page
    plain, _ = studied(study_config(tmp_path), tmp_path / "plain", extras=False)
    assert extra_tables(plain, read_results(plain)) == []
    assert "Beside the suite" not in write_report(plain).read_text(encoding="utf-8")


def test_writing_an_extra_again_replaces_it_and_touches_nothing_else(tmp_path: Path) -> None:
    folder, _ = studied(study_config(tmp_path), tmp_path / "beside", extras=True)
    with Store(folder.results_db) as store:
        before, samples = store.extras(), store.samples(1, 20)
        reason = replace(before[5], reason="out of memory", rung=replace(before[5].rung, rates={}))
        store.put_extra(reason, [])
        after = store.extras()
        assert after[5] == reason
        assert [*after[:5], *after[6:]] == [*before[:5], *before[6:]]
        assert store.extra_samples(reason) == []
        assert store.samples(1, 20) == samples


def test_only_those_who_show_extras_read_them() -> None:
    readers = set()
    for name, path in modules("tuner").items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        modules_read = {dotted.rpartition(".")[0] for dotted in imports(path)}
        about_extras = {"tuner.trial.extra", "tuner.results.extras", "tuner.storage.extra_rows"}
        if (
            attributes & {"extras", "extra_samples"}
            or "EXTRA" in names
            or modules_read & about_extras
        ):
            readers.add(name)
    assert readers - {"tuner.storage.schema", "tuner.storage.extra_rows"} == MAY_READ
