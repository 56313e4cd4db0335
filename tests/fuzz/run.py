"""Give the tool mutated files and report everything that is not one of its own error lines.

    python -m tests.fuzz.run --kind spaces --count 1000 --seed 0

Kinds: `spaces` (search spaces, as `tuner check` reads them), `weights` (safetensors through every
reader of them), `pictures` (broken pictures through every reader of them), `environments` (commands
in closed folders, on full disks, in odd terminals, moved and killed). Every case of files runs in a
process of its own, with 5 seconds and 1 GB of memory more than it began with. A finding is an
exception that is no error line, an error of more than one line for one problem, a hang, too much
memory, or an accepted file that means something else than what it says. `--case N` repeats one
case; `--keep FOLDER` keeps the files of findings. The exit code is 1 if there is a finding.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.fuzz.isolation import Case, isolated

os.environ["HF_HUB_OFFLINE"] = "1"

KINDS = ("spaces", "weights", "pictures", "environments")
GOOD = ("accepted", "refused", "skipped")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", choices=KINDS, required=True)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="run this one only")
    parser.add_argument("--keep", type=Path, help="a folder for the files of findings")
    chosen = parser.parse_args()
    words: Counter[str] = Counter()
    numbers = range(chosen.count) if chosen.case is None else [chosen.case]
    with tempfile.TemporaryDirectory() as place:
        case, run_case = case_of(chosen.kind, Path(place)), isolated
        if chosen.kind == "environments":  # its commands are processes already
            from tests.fuzz.environments import with_commands as run_case
        for number in numbers:
            folder = Path(place, f"{number}")
            folder.mkdir()
            word, details = run_case(case, folder, f"{chosen.kind} {chosen.seed} {number}")
            words[word] += 1
            if word not in GOOD:
                print(f"--- case {number}: {word}\n{details}", flush=True)
                if chosen.keep:
                    shutil.copytree(folder, chosen.keep / f"{chosen.kind}-{number}")
            shutil.rmtree(folder)
    print(f"{chosen.kind}, seed {chosen.seed}: {', '.join(f'{n} {w}' for w, n in words.items())}")
    return int(any(word not in GOOD for word in words))


def case_of(kind: str, place: Path) -> Case:
    """Import what the cases of a kind need, once for all, and write what they share to `place`."""
    os.environ["TUNER_HOME"] = str(place / "home")
    if kind == "spaces":
        from tests.fuzz.spaces import prepare
    elif kind == "weights":
        from tests.fuzz.weights import prepare
    elif kind == "pictures":
        from tests.fuzz.pictures import prepare
    else:
        from tests.fuzz.environments import prepare
    return prepare(place)


if __name__ == "__main__":
    sys.exit(main())
