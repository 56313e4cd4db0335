from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from tuner.mannequin.building.fit import Fit, one_cycle


def _descend(fit: Fit, stop_after: int | None = None) -> None:
    for step in fit.steps(seed=5):
        noise = torch.randn(8, 3)
        fit.descend((fit.module(noise) - noise.sum(dim=1, keepdim=True)).square().mean())
        if stop_after is not None and step + 1 == stop_after:
            fit._save(step + 1)
            return


def _linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(3, 1)


def test_a_stopped_run_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    whole = Fit(_linear(), 20, 0.1, tmp_path / "whole.safetensors")
    _descend(whole)
    broken = Fit(_linear(), 20, 0.1, tmp_path / "broken.safetensors")
    _descend(broken, stop_after=7)
    resumed = Fit(_linear(), 20, 0.1, tmp_path / "broken.safetensors")
    assert resumed.first == 7
    _descend(resumed)
    for name, value in whole.average.items():
        assert torch.equal(value, resumed.average[name])


def test_a_finished_run_is_not_repeated(tmp_path: Path) -> None:
    state = tmp_path / "done.safetensors"
    _descend(Fit(_linear(), 4, 0.1, state))
    assert list(Fit(_linear(), 4, 0.1, state).steps(seed=5)) == []


def test_the_learning_rate_rises_once_and_falls() -> None:
    rates = [one_cycle(step, 100, 1.0) for step in range(100)]
    assert max(rates) == pytest.approx(1.0, abs=0.01)
    top = rates.index(max(rates))
    assert 8 <= top <= 11
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] < 0.02
