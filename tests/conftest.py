"""No test asks a model hub: what is not on this machine is told at once, on every network."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # read once, when huggingface_hub is imported
