"""The embedded world: a small base, a data set and a judge's model that need no GPU and no hub.

Everything in it is real except the size. `weights/` is made by `build.py`; pictures are drawn by
`render.py`. This module only knows where things lie.
"""

from __future__ import annotations

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"
BASE = WEIGHTS / "base"
CLIP = WEIGHTS / "clip"
NATIVE_SIZE = 64
