"""Where this project, its profile and its state are."""

import os
import shutil
from pathlib import Path

_SOURCE = Path(__file__).resolve().parents[1]


def project_root() -> Path:
    """The checkout this package runs from; the working directory when it was installed without one."""
    return _SOURCE if (_SOURCE / "workspace.yaml").exists() else Path.cwd()


def shipped_profile(name: str) -> Path:
    """assets_config/<name>.yaml of the checkout."""
    return project_root() / "assets_config" / f"{name}.yaml"


def config_path() -> Path:
    """The profile this code location serves: AFMRL_CONFIG, or the embedded default."""
    named = os.environ.get("AFMRL_CONFIG")
    return Path(named).absolute() if named else shipped_profile("demo")


def afmrl_home() -> Path:
    """Everything a run writes lives here: AFMRL_HOME, or .afmrl/ in the checkout."""
    named = os.environ.get("AFMRL_HOME")
    return Path(named).absolute() if named else project_root() / ".afmrl"


def prepare_dagster_home(home: Path) -> Path:
    """Make AFMRL_HOME/dagster a Dagster home, and name it in DAGSTER_HOME unless set."""
    directory = Path(os.environ.setdefault("DAGSTER_HOME", str(home / "dagster")))
    directory.mkdir(parents=True, exist_ok=True)
    settings = directory / "dagster.yaml"
    if not settings.exists():
        # Runs that the UI and the schedule start wait for one another: no two share a GPU.
        at_once = 1 if shutil.which("nvidia-smi") else os.cpu_count() or 1
        settings.write_text(
            "telemetry:\n  enabled: false\nnux:\n  enabled: false\n"
            f"concurrency:\n  runs:\n    max_concurrent_runs: {at_once}\n"
            # A long look at the catalog does not hold up the other sensors.
            "sensors:\n  use_threads: true\n  num_workers: 4\n"
            # What the library logs, progress among it, is shown in the run's log.
            "python_logs:\n  managed_python_loggers: [afmrl_models]\n  python_log_level: INFO\n",
            encoding="utf-8",
        )
    return directory
