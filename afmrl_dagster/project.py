"""Where this project, its profile and its state are."""

import os
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
