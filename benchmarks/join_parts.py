"""Join the parts of a study of recipes, each with its own training seeds, into one study folder.

    python benchmarks/join_parts.py PART [PART ...] TARGET

The trials of later parts get the numbers after those of the first. Pictures and scores are copied,
trained files are not; the parts stay unchanged. The target is for reading: `tuner verdicts`,
`tuner report` and publish.py accept it, `tuner run` cannot continue it.
"""

from __future__ import annotations

import shutil
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path

from tuner.results import read_series
from tuner.space import load_study, to_yaml
from tuner.storage import StudyFolder
from tuner.storage.files import write_text

OF_A_TRIAL = ("rungs", "samples", "scores", "measures", "features")
PATHS = {"rungs": ("lora", "grid"), "samples": ("path",)}


def main() -> None:
    *parts, target = (StudyFolder(Path(each)) for each in sys.argv[1:])
    if not parts or target.root.exists():
        sys.exit(__doc__ if not parts else f"{target.root} exists already")
    print(f"{target.root}: {join(parts, target)} trials of {len(parts)} parts")


def join(parts: Sequence[StudyFolder], target: StudyFolder) -> int:
    """Write the target and return the number of its trials.

    Raises ConfigError for parts of different studies, or if two parts have the same run.
    """
    read_series(parts)
    target.root.mkdir(parents=True)
    shutil.copyfile(parts[0].results_db, target.results_db)
    if parts[0].base.is_dir():
        shutil.copytree(parts[0].base, target.base)
    with sqlite3.connect(target.results_db) as joined:
        for part in parts:
            (offset,) = joined.execute("select coalesce(max(number) + 1, 0) from trials").fetchone()
            offset = 0 if part is parts[0] else offset
            if offset:
                _add_rows(joined, part, offset)
            _copy_trials(part, target, offset)
        (count,) = joined.execute("select count(*) from trials").fetchone()
        joined.execute("update studies set budget = ?", [_write_yaml(parts, target)])
    joined.close()
    return int(count)


def _add_rows(joined: sqlite3.Connection, part: StudyFolder, offset: int) -> None:
    source = sqlite3.connect(part.results_db)
    source.row_factory = sqlite3.Row
    for row in source.execute("select * from trials order by number"):
        retry = None if row["retry_of"] is None else row["retry_of"] + offset
        _insert(joined, "trials", {**row, "number": row["number"] + offset, "retry_of": retry})
    for table in OF_A_TRIAL:
        for row in source.execute(f"select * from {table} where trial >= 0"):
            shifted = {**row, "trial": row["trial"] + offset}
            for name in PATHS.get(table, ()):
                shifted[name] = _renumbered(row[name], row["trial"], offset)
            _insert(joined, table, shifted)
    for row in source.execute("select trial, phase, begun, seconds from events"):
        number = row["trial"] + offset if row["trial"] >= 0 else row["trial"]
        _insert(joined, "events", {**row, "trial": number})
    source.close()


def _insert(joined: sqlite3.Connection, table: str, row: dict[str, object]) -> None:
    marks = ", ".join("?" * len(row))
    joined.execute(f"insert into {table} ({', '.join(row)}) values ({marks})", list(row.values()))


def _renumbered(path: str | None, trial: int, offset: int) -> str | None:
    old, new = f"trials/{trial:04d}/", f"trials/{trial + offset:04d}/"
    return path if path is None else path.replace(old, new, 1)


def _copy_trials(part: StudyFolder, target: StudyFolder, offset: int) -> None:
    with sqlite3.connect(part.results_db) as known:
        numbers = [number for (number,) in known.execute("select number from trials")]
    known.close()
    for number in numbers:
        source = part.trial(number).root
        if source.is_dir():
            trained = shutil.ignore_patterns("*.safetensors")
            shutil.copytree(source, target.trial(number + offset).root, ignore=trained)


def _write_yaml(parts: Sequence[StudyFolder], target: StudyFolder) -> int:
    """Write study.yaml with the training seeds of all parts; return the number of their runs."""
    configs = [load_study(part.study_yaml) for part in parts]
    seeds = sorted({seed for config in configs for seed in config.training_seeds})
    budget = configs[0].budget.model_copy(
        update={"trials": sum(config.budget.trials for config in configs)}
    )
    whole = configs[0].model_copy(update={"training_seeds": tuple(seeds), "budget": budget})
    text = parts[0].study_yaml.read_text(encoding="utf-8")
    about = [line for line in text.splitlines() if line.startswith("# ")]
    write_text(target.study_yaml, "\n".join(about) + "\n" + to_yaml(whole))
    return budget.trials


if __name__ == "__main__":
    main()
