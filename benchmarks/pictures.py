"""Draw the README's picture: the base, the best and the worst trial on the same samples.

    python benchmarks/pictures.py studies/pose docs/base_best_worst.png

Best is the trial that `tuner export` takes; worst, of the trials that reached their last rung, has
the lowest product of its objectives.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from tuner.results import read_results
from tuner.results.results import Result, recommended
from tuner.storage import Store, StudyFolder
from tuner.storage.rows import RungRow
from tuner.text import interval, words

CELL, LABEL, HEADER = 96, 130, 84
PROMPTS = ("1girl", "1girl, solo, full body", "1boy", "1boy, solo, upper body")
SEEDS = 3


def main() -> None:
    folder, target = StudyFolder(Path(sys.argv[1])), Path(sys.argv[2])
    results = read_results(folder)
    names = results.study.objectives
    best = recommended(results).result
    last = max(result.rung.step for result in results.scored)
    worst = min(
        (result for result in results.scored if result.rung.step == last),
        key=lambda result: math.prod(result.rung.objectives[name].value for name in names),
    )
    if results.base is None:
        raise SystemExit("the base of this study was not sampled yet")
    blocks = [_block(folder, None, results.base, "base, no LoRA")]
    blocks += [
        _block(folder, result.trial.number, result.rung, f"{title}: trial {result.trial.number}")
        for title, result in (("best", best), ("worst", worst))
    ]
    width = LABEL + sum(block.width + 12 for block in blocks)
    sheet = Image.new("RGB", (width, blocks[0].height), "white")
    _label_rows(sheet)
    left = LABEL
    for block in blocks:
        sheet.paste(block, (left, 0))
        left += block.width + 12
    target.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(target, optimize=True)
    for title, result in (("best", best), ("worst", worst)):
        print(_summary(title, result))


def _block(folder: StudyFolder, trial: int | None, rung: RungRow, title: str) -> Image.Image:
    with Store(folder.results_db) as store:
        rows = store.samples(trial, rung.step)
    block = Image.new("RGB", (SEEDS * CELL, HEADER + len(PROMPTS) * CELL), "white")
    font = ImageFont.load_default(13)
    scores = [f"{name} {objective.value:.2f}" for name, objective in rung.objectives.items()]
    text = "\n".join([title, ", ".join(scores[:2]), ", ".join(scores[2:])])
    ImageDraw.Draw(block).multiline_text((2, 6), text, "black", font, spacing=8)
    for row, prompt in enumerate(PROMPTS):
        cells = [cell for cell in rows if cell.prompt.text == prompt][:SEEDS]
        for column, cell in enumerate(cells):
            picture = (
                Image.open(cell.path).convert("RGB").resize((CELL, CELL), Image.Resampling.BICUBIC)
            )
            block.paste(picture, (column * CELL, HEADER + row * CELL))
    return block


def _label_rows(sheet: Image.Image) -> None:
    font = ImageFont.load_default(13)
    for row, prompt in enumerate(PROMPTS):
        text = prompt.replace(", ", ",\n")
        ImageDraw.Draw(sheet).multiline_text((4, HEADER + row * CELL + 6), text, "black", font)


def _summary(title: str, result: Result) -> str:
    trial, objectives = result.trial, result.rung.objectives
    numbers = ", ".join(f"{name} {interval(value)}" for name, value in objectives.items())
    return f"{title}: trial {trial.number} ({words(trial.parameters)}): {numbers}"


if __name__ == "__main__":
    main()
