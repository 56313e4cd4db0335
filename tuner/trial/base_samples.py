"""Samples of the base itself, which is at fault where they cannot be drawn."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager

from metrics.contract import Sample
from tuner.errors import ConfigError, DivergedError
from tuner.events import Progress
from tuner.models import BaseModel, sample
from tuner.space import SuiteConfig
from tuner.storage.folder import RungFolder


def base_samples(
    base: BaseModel, suite: SuiteConfig, folder: RungFolder
) -> Generator[Progress, None, list[Sample]]:
    """Draw the suite with the base and return the samples; call it with `yield from`.

    Raises ConfigError if a picture is not finite.
    """
    with blaming_base(base):
        samples = yield from sample(base, suite, None, folder)
    return samples


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
