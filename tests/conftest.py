"""Every test runs on one thread, without a hub, and writes only below its own temporary directory."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["DO_NOT_TRACK"] = "1"
os.environ["GX_ANALYTICS_ENABLED"] = "false"
os.environ["DAGSTER_DISABLE_TELEMETRY"] = "true"

from pathlib import Path

import pytest

REAL_CATALOGS = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def real_catalogs() -> Path:
    """The folder of the three real catalogs; a test that asks for it is skipped where they are absent."""
    if not (REAL_CATALOGS / "fashion" / "listings.csv").exists():
        pytest.skip(f"the real catalogs are not at {REAL_CATALOGS}")
    return REAL_CATALOGS


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path_factory.mktemp("afmrl_home")
    monkeypatch.setenv("AFMRL_HOME", str(home))
    monkeypatch.delenv("AFMRL_CONFIG", raising=False)
    # Set before it is deleted: so it is taken away afterwards from a test that names one.
    monkeypatch.setenv("DAGSTER_HOME", "")
    monkeypatch.delenv("DAGSTER_HOME")
