from __future__ import annotations

import pytest

from tuner.terminal import tracked


def test_without_a_terminal_a_line_comes_every_half_minute(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = iter(range(0, 1000, 20))
    items = list(tracked("abcde", 5, "pictures looked at", lambda: next(clock)))
    assert items == list("abcde")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == ["2 of 5 pictures looked at", "4 of 5 pictures looked at"]


def test_on_a_terminal_there_is_a_bar(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert list(tracked("abc", 3, "pictures looked at")) == list("abc")
    shown = capsys.readouterr().err
    assert "pictures looked at" in shown
    assert "3/3" in shown
