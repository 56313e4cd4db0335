"""Regularisation pictures from the base: drawn once for a study and stored in its folder."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from PIL import Image as Pictures

from metrics.contract import Sample
from tuner.data import TrainingSet, read_folder
from tuner.data.regularisation import PRIOR_PICTURES
from tuner.errors import ConfigError
from tuner.events import Progress
from tuner.judging.pool import score
from tuner.models.sampling import draw_cells
from tuner.space import SuiteConfig
from tuner.space.config import MANNEQUIN
from tuner.storage.files import write_text
from tuner.trial.base_samples import blaming_base
from tuner.trial.keep import is_flagged
from tuner.trial.workbench import Workbench

_BATCH = 20


def prior_pictures(bench: Workbench, folder: Path) -> Iterator[Progress | TrainingSet]:
    """Draw the suite's bare prompts with the base into `folder`, or read the pictures from it.

    The last item is the set; its captions are the prompts. The seeds of the noise are above the
    suite's own, so that no judged picture is trained on. On a real base a picture that a judge of
    clothing flags is left out. Raises ConfigError if none is left.
    """
    if not folder.is_dir():
        part = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        yield from _drawn(bench, part)
        part.rename(folder)
    images = read_folder(folder)
    # No judge needs held-out regularisation pictures: all are trained on.
    yield TrainingSet(folder, (*images.images, *images.held_out), (), (), images.sha256)


def _drawn(bench: Workbench, folder: Path) -> Iterator[Progress]:
    suite, chosen = _cells(bench.suite)
    cells = suite.cells()
    kept, start = 0, time.monotonic()
    for first in range(0, len(chosen), _BATCH):
        indices = chosen[first : first + _BATCH]
        drawing = closing(draw_cells(bench.base, suite, None, indices))
        with blaming_base(bench.base), drawing as batches:
            images = [image for batch in batches for image in batch]
        pairs = zip(indices, images, strict=True)
        samples = [Sample(*cells[index], image, folder / "unused") for index, image in pairs]
        for scored in score(samples, bench.judges, bench.pool):
            if bench.base.name != MANNEQUIN and is_flagged(scored.scores):
                continue
            path = folder / f"{kept:04d}.png"
            write_text(path.with_suffix(".txt"), scored.sample.prompt.text + "\n")
            Pictures.fromarray(scored.sample.image).save(path)
            kept += 1
        done = first + len(indices)
        yield Progress(done, len(chosen), done / (time.monotonic() - start))
    if not kept:
        raise ConfigError(
            "regularisation base: the judges flagged every picture of the base as undressed; "
            "name a folder of pictures"
        )


def _cells(suite: SuiteConfig) -> tuple[SuiteConfig, Sequence[int]]:
    """Return the suite with more seeds, and PRIOR_PICTURES of its new cells, of bare prompts."""
    bare = [number for number, prompt in enumerate(suite.prompts) if not prompt.names_clothes]
    bare = bare or list(range(len(suite.prompts)))
    more = -(-PRIOR_PICTURES // len(bare))
    longer = suite.model_copy(update={"seeds": suite.seeds + more})
    chosen = [
        number * longer.seeds + seed for seed in range(suite.seeds, longer.seeds) for number in bare
    ]
    return longer, chosen[:PRIOR_PICTURES]
