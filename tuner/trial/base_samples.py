"""Samples of the base itself, which is at fault where they cannot be drawn."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager

from tuner.errors import ConfigError, DivergedError
from tuner.events import Progress
from tuner.models import BaseModel
from tuner.space import SuiteConfig
from tuner.storage.folder import RungFolder
from tuner.trial.scoring import Drawn, draw_suite
from tuner.trial.workbench import Workbench


def base_samples(
    bench: Workbench, suite: SuiteConfig, folder: RungFolder
) -> Generator[Progress, None, Drawn]:
    """Draw the suite with the base for scoring; call it with `yield from`.

    Raises ConfigError if a picture is not finite.
    """
    with blaming_base(bench.base):
        drawn = yield from draw_suite(bench, suite, None, folder)
    return drawn


@contextmanager
def blaming_base(base: BaseModel) -> Iterator[None]:
    """Raise ConfigError for pictures of the base that are not finite."""
    try:
        yield
    except DivergedError as error:
        raise ConfigError(
            f"base {base.name} draws pictures that are not finite numbers ({base.dtype}); fetch it "
            "again, or give another base"
        ) from error
