"""The settings an asset is made with: where the profile's are others today, its output is stale.

Their digest is the asset's Dagster code version. An output keeps the settings that it was made with, which
a run may have been given for itself (`run_settings`).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from afmrl_models.config import Profile

_FILE = ".settings.json"
_SHOWN = 60
_SECRET = ("attributes", "teacher", "api_key")

# Assets that read these sections of the profile and no others.
_SECTIONS: dict[str, set[str]] = {
    "raw_catalog": {"catalog"},
    "listings": {"catalog"},
    "splits": {"splits"},
    "evaluation_set": set(),
}
# When and where is no setting of a result; another seed or round leaves the finished ones as they are.
_OPERATION = {"runs", "catalog_changed", "alerts", "schedule", "timezone", "owners"}
_NEVER = {"name", "device", "cpu_threads", "tracking"} | _OPERATION
_RELEASE_ONLY = {"seeds", "rounds", "champion"}
# Read by the assets of these names, the first by both.
_HANDED_OVER = ("product_index", "identical_products")
# How trained models are judged, which changes none of them.
_MEASURES = {"tasks", "ks", "batch_size", "bootstrap", "oracle"}


def settings_digest(profile: Profile, key: Sequence[str]) -> str:
    """12 hexadecimal digits over `settings_of` the asset with this key."""
    document = json.dumps(settings_of(profile, key), sort_keys=True)
    return sha256(document.encode()).hexdigest()[:12]


def settings_of(profile: Profile, key: Sequence[str]) -> dict[str, Any]:
    """All settings that can change the output of the asset with this key.

    A setting that nothing is known of counts for every asset: retraining for nothing is the lesser harm.
    """
    left_out = set(_NEVER)
    if key[0] != "release":
        left_out |= _RELEASE_ONLY
        if key[-1] != "product_attributes":
            left_out.add("expectations")
    if key[-1] not in _HANDED_OVER:
        left_out |= set(_HANDED_OVER)
    elif key[-1] == "product_index":
        left_out.add("identical_products")
    settings = profile.model_dump(mode="json", exclude=left_out)
    if key[0] != "release" and key[-1] != "retrieval_metrics":
        settings["evaluation"] = profile.evaluation.model_dump(mode="json", exclude=_MEASURES)
    return {name: settings[name] for name in _SECTIONS.get(key[-1], settings)}


@dataclass(frozen=True)
class MadeWith:
    """The settings that an output was made with, less what is secret, and the digest of all of them."""

    digest: str
    settings: dict[str, Any]

    @classmethod
    def read(cls, directory: Path) -> "MadeWith | None":
        """What `write` left in an output; None where it is missing."""
        file = directory / _FILE
        return cls(**json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None

    @classmethod
    def of(cls, profile: Profile, key: Sequence[str]) -> "MadeWith":
        """What an output is made with where the profile's settings hold."""
        settings = settings_of(profile, key)
        section: Any = settings
        for name in _SECRET[:-1]:
            section = section.get(name, {})
        if _SECRET[-1] in section:
            section[_SECRET[-1]] = ""
        return cls(settings_digest(profile, key), settings)

    def write(self, directory: Path) -> None:
        """Keep it in an output."""
        (directory / _FILE).write_text(json.dumps(vars(self), indent=1), encoding="utf-8")

    def other_than(self, profile: Profile, key: Sequence[str]) -> list[str]:
        """Settings that differ from the profile's, each as `training.steps 7 (the profile: 200)`."""
        stated = self.of(profile, key).settings
        return [
            f"{name} {_shown(made)} (the profile: {_shown(profiles)})"
            for name, made, profiles in differences(self.settings, stated)
        ]


def differences(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """Dotted key and both values (None: missing in `theirs`) of each of our settings that differs."""
    for name, mine in ours.items():
        other = theirs.get(name)
        if isinstance(mine, Mapping) and isinstance(other, Mapping):
            yield from differences(mine, other, f"{prefix}{name}.")
        elif mine != other:
            yield f"{prefix}{name}", mine, other


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
