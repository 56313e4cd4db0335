"""What of a study is small enough to be kept in the repository.

    python benchmarks/publish.py STUDY TARGET

Copies study.yaml and report.html, results.db without the features that measures were computed from,
a small grid of each trial's last rung and of the base, and the LoRA that `tuner export` takes. A
study of recipes has no winner, and many runs that differ in the training seed alone: its verdicts
and the values behind them go there instead, and the verdicts into the README.md above the target,
between its marks; grids are those of the first seed, and what the judges measured behind each score
stays behind.
"""

from __future__ import annotations

import shutil
import sqlite3
import sys
from pathlib import Path

from PIL import Image

from tuner.export import export_trial
from tuner.report.verdicts import markdown, values_csv
from tuner.results import read_results, read_series
from tuner.results.confirmation import chosen
from tuner.space import load_study
from tuner.space.recipes import RECIPE, TRAINING_SEED
from tuner.storage import StudyFolder
from tuner.storage.files import write_text

QUALITY = 80
START, END = "<!-- verdicts -->\n", "<!-- end of verdicts -->"


def main() -> None:
    folder, target = StudyFolder(Path(sys.argv[1])), Path(sys.argv[2])
    results = read_results(folder)
    shutil.rmtree(target, ignore_errors=True)
    (target / "grids").mkdir(parents=True)
    for path in (folder.study_yaml, folder.report):
        shutil.copyfile(path, target / path.name)
    shutil.copyfile(folder.results_db, target / folder.results_db.name)
    compares = bool(load_study(folder.study_yaml).hypotheses)
    _slim(target / folder.results_db.name, compares)
    if results.base:
        _small(results.base.grid, target / "grids" / "base.jpg")
    for one in results.scored:
        if not one.trial.parameters.get(TRAINING_SEED):
            name = one.trial.parameters.get(RECIPE, f"{one.trial.number:04d}")
            _small(one.rung.grid, target / "grids" / f"{name}.jpg")
    if compares:
        series = read_series([folder])
        write_text(target / "verdicts.md", markdown(series))
        write_text(target / "values.csv", values_csv(series))
        fill(target.parent / "README.md", markdown(series))
    else:
        export_trial(folder, chosen(folder), target / f"{folder.name}.safetensors")
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    print(f"{target}: {size / 2**20:.1f} MiB")


def fill(readme: Path, verdicts: str) -> None:
    """Put the verdicts, without their title and the means of all runs, into `readme`."""
    before, rest = readme.read_text(encoding="utf-8").split(START)
    after = rest.split(END)[1]
    told = verdicts.split("\n", 1)[1].split("\n## ")[0].strip()
    write_text(readme, f"{before}{START}{told}\n{END}{after}")


def _slim(database: Path, without_evidence: bool) -> None:
    with sqlite3.connect(database) as connection:
        if without_evidence:
            connection.execute("update scores set evidence = '{}'")
        for table in ("features", "fresh_features"):
            if connection.execute("select 1 from sqlite_master where name = ?", [table]).fetchone():
                connection.execute(f"delete from {table}")
    connection.execute("vacuum")
    connection.close()


def _small(grid: Path, target: Path) -> None:
    picture = Image.open(grid).convert("RGB")
    half = (picture.width // 2, picture.height // 2)
    picture.resize(half, Image.Resampling.LANCZOS).save(target, quality=QUALITY, optimize=True)


if __name__ == "__main__":
    main()
