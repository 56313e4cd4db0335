"""Where tuner keeps what it made or fetched once: TUNER_HOME, else the user's cache folder."""

from __future__ import annotations

from pathlib import Path

from metrics import models


def cache_folder() -> Path:
    """The cache folder, above the judges' models; it need not exist yet."""
    return models.cache_folder().parent
