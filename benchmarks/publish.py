"""Copy the parts of a study that are small enough for the repository.

    python benchmarks/publish.py STUDY TARGET

These are study.yaml and report.html, results.db without the features from which measures were
computed (vectors of faces are among them), a small grid of each trial's last rung and of the base,
and the LoRA that `tuner export` takes. A study of recipes has no winner, and many runs that differ
only in the training seed: its verdicts and their values are written instead of a LoRA, the verdicts
also between the marks of the README.md above the target. Its grids are those of the first seed, and
its results.db has no evidence of the judges.
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
    for result in results.scored:
        if not result.trial.parameters.get(TRAINING_SEED):
            name = result.trial.parameters.get(RECIPE, f"{result.trial.number:04d}")
            _small(result.rung.grid, target / "grids" / f"{name}.jpg")
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
    """Write the verdicts, without their title and the means of all runs, into `readme`."""
    before, rest = readme.read_text(encoding="utf-8").split(START)
    after = rest.split(END)[1]
    section = verdicts.split("\n", 1)[1].split("\n## ")[0].strip()
    write_text(readme, f"{before}{START}{section}\n{END}{after}")


def _slim(database: Path, without_evidence: bool) -> None:
    with sqlite3.connect(database) as connection:
        if without_evidence:
            connection.execute("update scores set evidence = '{}'")
        # Features hold the faces of a real person: they must not leave the user's machine.
        for table in ("features", "fresh_features", "extra_features"):
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
