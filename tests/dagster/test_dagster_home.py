"""dagster.yaml: kept up to date while nobody has touched it, left alone and told of once somebody has."""

from pathlib import Path

import pytest
import yaml

from afmrl_dagster import dagster_home
from afmrl_dagster.dagster_home import prepare_dagster_home, shipped_settings
from afmrl_models.errors import UserError

WITHOUT_LOGS = "telemetry:\n  enabled: false\nsensors:\n  use_threads: true\n"


def prepared(home: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Path, str]:
    """dagster.yaml, and what was said."""
    path = prepare_dagster_home(home) / "dagster.yaml"
    return path, capsys.readouterr().err


def test_an_untouched_file_follows_what_is_shipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr(dagster_home, "shipped_settings", lambda: WITHOUT_LOGS)
        path, said = prepared(tmp_path, capsys)
        assert not said and yaml.safe_load(path.read_text()) == yaml.safe_load(WITHOUT_LOGS)
        assert prepared(tmp_path, capsys)[1] == ""
    assert "written anew" in prepared(tmp_path, capsys)[1]
    assert yaml.safe_load(path.read_text()) == yaml.safe_load(shipped_settings())
    before = path.read_text()
    assert prepared(tmp_path, capsys)[1] == "" and path.read_text() == before


def test_a_file_changed_by_hand_is_left_alone_and_told_what_it_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr(dagster_home, "shipped_settings", lambda: WITHOUT_LOGS)
        path, _ = prepared(tmp_path, capsys)
    theirs = path.read_text() + "concurrency:\n  runs:\n    max_concurrent_runs: 7  # ours\n"
    path.write_text(theirs)
    said = prepared(tmp_path, capsys)[1]
    assert path.read_text() == theirs
    assert str(path) in said and 'python_logs.managed_python_loggers: ["afmrl_models"]' in said
    assert "sensors.num_workers: 4" in said and "max_concurrent_runs" not in said
    path.write_text(
        theirs + yaml.safe_dump({"python_logs": {"managed_python_loggers": [], "python_log_level": "INFO"}})
    )
    assert "python_logs" not in prepared(tmp_path, capsys)[1]
    # Of an earlier version that marked nothing.
    path.write_text(WITHOUT_LOGS)
    assert "python_logs" in prepared(tmp_path, capsys)[1] and path.read_text() == WITHOUT_LOGS


def test_what_was_taken_out_of_the_present_settings_is_not_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, _ = prepared(tmp_path, capsys)
    path.write_text(path.read_text().replace("  num_workers: 4\n", ""))
    assert prepared(tmp_path, capsys)[1] == ""


def test_a_file_that_is_no_yaml_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, _ = prepared(tmp_path, capsys)
    for text in ("telemetry: [", "just words"):
        path.write_text(text)
        with pytest.raises(UserError, match=r"dagster\.yaml: "):
            prepared(tmp_path, capsys)
