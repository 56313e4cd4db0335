from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from metrics.contract import Measure
from tuner.storage.json_text import json_text


def test_values_of_every_kind_become_json_that_programs_read() -> None:
    value = {
        Path("a/b"): (1, np.float32(0.5), np.arange(2)),
        "measure": Measure("effect", math.nan, 0.0, 1.0, 3, 4),
        "rows": [math.inf, None, True, "ü\udc80"],
    }
    read = json.loads(json_text(value))
    assert read["a/b"] == [1, 0.5, [0, 1]]
    assert read["measure"]["value"] is None
    assert read["measure"]["n"] == 3
    assert read["rows"][:3] == [None, None, True]
    assert read["rows"][3].startswith("ü")
    assert json_text(value, ascii_only=True).isascii()
    assert json_text({"a": [1]}, indent=1) == '{\n "a": [\n  1\n ]\n}'


def test_values_that_are_no_json_are_an_error() -> None:
    with pytest.raises(TypeError):
        json_text({"a": object()})
