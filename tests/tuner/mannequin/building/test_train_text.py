from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tuner.mannequin.building.train_text import token_ids, train_text
from tuner.mannequin.building.vocabulary import new_tokenizer

CAPTIONS = ["1girl, red shirt", "1girl, blue shirt", "1boy, red shirt", "1boy, blue shirt", ""]


def _apart(steps: int, folder: Path) -> float:
    """Return how far another colour moves the mean of all tokens' states."""
    tokenizer = new_tokenizer()
    encoder = train_text(CAPTIONS, tokenizer, (steps, 0, folder / f"{steps}.safetensors"))
    with torch.no_grad():
        states = encoder(token_ids(tokenizer, CAPTIONS)).last_hidden_state.mean(dim=1)
    return float((states[0] - states[1]).norm())


@pytest.mark.slow
def test_a_trained_encoder_tells_a_colour_in_the_mean_of_its_tokens(tmp_path: Path) -> None:
    assert _apart(40, tmp_path) > 4 * _apart(0, tmp_path)


def test_a_finished_run_is_read_back_and_not_repeated(tmp_path: Path) -> None:
    tokenizer = new_tokenizer()
    plan = (3, 0, tmp_path / "text.safetensors")
    first = train_text(CAPTIONS, tokenizer, plan).state_dict()
    written = plan[2].stat().st_mtime_ns
    again = train_text(CAPTIONS, tokenizer, plan).state_dict()
    assert plan[2].stat().st_mtime_ns == written
    assert all(torch.equal(first[key], again[key]) for key in first)
