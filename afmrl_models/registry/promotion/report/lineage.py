"""Where a registered version comes from: when and on what it was trained, with which settings."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

from mlflow.exceptions import MlflowException

from afmrl_models.registry.models import ModelVersion
from afmrl_models.registry.tracking import Tracking

_SHOWN = 12  # digits of a digest or a revision


@dataclass(frozen=True)
class Lineage:
    """What the registry and the training run say of a version; unknown: why they say nothing."""

    name: str
    trained: str = ""
    round: str = ""
    catalog: str = ""
    revision: str = ""
    settings: dict[str, str] = field(default_factory=dict)
    unknown: str = ""


@dataclass(frozen=True)
class Setting:
    """A setting of the two trainings; None where a training has none of this name."""

    name: str
    champion: str | None
    challenger: str | None


def lineage(tracking: Tracking, version: ModelVersion) -> Lineage:
    """Look a version up; one that was deleted, or whose run was, is named with the reason."""
    name = f"{version.name}/{version.version}"
    try:
        found = tracking.client.get_model_version(version.name, str(version.version))
        params = dict(tracking.client.get_run(found.run_id).data.params) if found.run_id else {}
    except MlflowException as error:
        return Lineage(name, unknown=str(error))
    tags = found.tags
    return Lineage(
        name=name,
        trained=datetime.fromtimestamp(found.creation_timestamp / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC"),
        round=tags.get("round", ""),
        catalog=tags.get("catalog.digest", "")[:_SHOWN],
        revision=tags.get("git.revision", ""),
        settings=params,
    )


def differing(champion: Lineage, challenger: Lineage) -> list[Setting]:
    """The settings that are not the same in both, by name."""
    names = sorted({*champion.settings, *challenger.settings})
    pairs = [Setting(name, champion.settings.get(name), challenger.settings.get(name)) for name in names]
    return [setting for setting in pairs if setting.champion != setting.challenger]
