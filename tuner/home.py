"""Where tuner keeps what it made or fetched once: TUNER_HOME, else the user's cache folder."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path


def cache_folder() -> Path:
    """The cache folder; it need not exist yet."""
    chosen = os.environ.get("TUNER_HOME")
    return Path(chosen).expanduser() if chosen else user_cache_path("tuner", appauthor=False)
