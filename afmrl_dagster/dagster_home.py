"""AFMRL_HOME/dagster: a Dagster home, whose settings stay up to date until a person changes them."""

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from afmrl_models.errors import UserError

_MARK = "# Written by afmrl, and kept up to date by it until you change it. ({digest})\n"
_MARKED = re.compile(r"# Written by afmrl.*\((?P<digest>[0-9a-f]{12})\)\n")


def prepare_dagster_home(home: Path) -> Path:
    """Make AFMRL_HOME/dagster a Dagster home, and name it in DAGSTER_HOME unless set.

    A dagster.yaml that nobody has changed is written anew when this version sets something else. In one
    that was changed nothing is touched: what it lacks of ours is said on stderr. Raises UserError for one
    that is no YAML.
    """
    directory = Path(os.environ.setdefault("DAGSTER_HOME", str(home / "dagster")))
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "dagster.yaml"
    ours = shipped_settings()
    if not path.exists():
        _write(path, ours)
        return directory
    text = path.read_text(encoding="utf-8")
    marked = _MARKED.match(text)
    digest, body = (marked["digest"], text[marked.end() :]) if marked else ("", text)
    if digest == _digest(body):
        if body != ours:
            _write(path, ours)
            sys.stderr.write(f"{path}: written anew with the settings of this version\n")
    elif digest != _digest(ours) and (lacking := list(_lacking(yaml.safe_load(ours), _parsed(path, body)))):
        sys.stderr.write(
            f"{path} was changed by hand, so it is left alone; it lacks what this version sets: "
            f"{'; '.join(lacking)}. Add that, or delete the file to have it written anew.\n"
        )
    return directory


def shipped_settings() -> str:
    """The text of dagster.yaml for this machine, without the first line."""
    # Runs that the UI and the schedule start wait for one another: no two share a GPU.
    at_once = 1 if shutil.which("nvidia-smi") else os.cpu_count() or 1
    return (
        "telemetry:\n  enabled: false\nnux:\n  enabled: false\n"
        f"concurrency:\n  runs:\n    max_concurrent_runs: {at_once}\n"
        # A long look at the catalog does not hold up the other sensors.
        "sensors:\n  use_threads: true\n  num_workers: 4\n"
        # What the library logs, progress among it, is shown in the run's log.
        "python_logs:\n  managed_python_loggers: [afmrl_models]\n  python_log_level: INFO\n"
    )


def _write(path: Path, body: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_text(_MARK.format(digest=_digest(body)) + body, encoding="utf-8")
    partial.replace(path)


def _digest(body: str) -> str:
    return sha256(body.encode()).hexdigest()[:12]


def _parsed(path: Path, body: str) -> Mapping[str, Any]:
    try:
        found = yaml.safe_load(body) or {}
    except yaml.YAMLError as error:
        raise UserError(f"{path}: no valid YAML: {error}") from None
    if not isinstance(found, Mapping):
        raise UserError(f"{path}: it holds no settings but {found!r}")
    return found


def _lacking(ours: Mapping[str, Any], theirs: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """`key: value` of what ours sets and theirs does not; a value of their own is no lack."""
    for key, value in ours.items():
        if key not in theirs:
            yield from _flat(f"{prefix}{key}", value)
        elif isinstance(value, Mapping) and isinstance(theirs[key], Mapping):
            yield from _lacking(value, theirs[key], f"{prefix}{key}.")


def _flat(key: str, value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flat(f"{key}.{name}", inner)
    else:
        yield f"{key}: {json.dumps(value)}"  # JSON is YAML
