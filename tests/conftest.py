"""What holds for every test, set before the libraries that read it are imported."""

from __future__ import annotations

import os

import pytest

# No test asks a model hub: what is not on this machine is told at once, on every network.
os.environ["HF_HUB_OFFLINE"] = "1"

# Side by side (`pytest -n`) test processes share the cores, as do the processes that they start.
if (_several := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))) > 1:
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // _several)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A slow test may take four times as long as others before it counts as hung: what takes two
    minutes on two cores takes more than five on half a core."""
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(1200))
