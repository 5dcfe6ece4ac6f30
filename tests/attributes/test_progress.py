"""Progress where no terminal is: lines with rate and an estimate of the end."""

import logging

import pytest
from tqdm import tqdm

from afmrl_models.attributes import progress
from afmrl_models.attributes.progress import ProgressLog, progress_of


def test_lines_say_how_far_how_fast_and_how_long(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    with caplog.at_level(logging.INFO), ProgressLog("attributes", 1000, 100) as log:
        for _ in range(4):
            clock[0] += 20
            log.update(100)
    assert caplog.messages == [
        "attributes: 300 of 1000 listings, 5.0 a second, 02:20 left",
        "attributes: 500 of 1000 listings, 5.0 a second, 01:40 left",
        "attributes: 500 of 1000 listings, 5.0 a second, 01:40 left",
    ]


def test_a_terminal_has_a_bar_and_silence_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: False)
    assert isinstance(progress_of("x", 3), ProgressLog)
    silent = progress_of("x", 3, enabled=False)
    assert isinstance(silent, tqdm) and silent.disable
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True)
    assert isinstance(progress_of("x", 3), tqdm)
