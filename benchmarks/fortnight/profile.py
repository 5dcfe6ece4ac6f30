"""The fortnight's profile: demo.yaml with a smaller shop, smaller models and fewer steps."""

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

DEMO = Path(__file__).resolve().parents[2] / "assets_config" / "demo.yaml"
NAME = "fortnight"
KEYS = ["type", "colour"]
_BACKBONE = {"hidden_size": 64, "layers": 2, "vision_layers": 2, "vocabulary": 600}
_SMALLER: dict[str, Any] = {
    "name": NAME,
    "device": "cpu",
    "catalog": {"image_size": 56},
    "embedder": _BACKBONE,
    "generator": _BACKBONE,
    "attributes": {
        "keys": KEYS,
        "sft": {"steps": 160, "batch_size": 32, "learning_rate": 0.003, "title_dropout": 0.2},
        "generation": {"max_new_tokens": 24},
    },
    "training": {"warmup_steps": 8, "steps": 8, "batch_size": 32, "mini_batch_size": 32},
    "evaluation": {"tasks": ["fine_grained"], "bootstrap": 300, "oracle": False},
    "refinement": {"steps": 3, "queries_per_step": 4, "group_size": 4, "max_new_tokens": 24},
    # Photos and words alone are at chance level with such models: no limits.
    "champion": {
        "limits": {
            task: {"metric": "recall_at_10", "max_drop": 1.0} for task in ("image_to_text", "text_to_image")
        }
    },
    "runs": {"retries": 1, "retry_after": 5},
}


def write_profile(path: Path, shop: Path, tracking: str, changes: Mapping[str, Any]) -> None:
    """The profile of a night, that reads the export in `shop`; `changes` are that night's settings."""
    document = yaml.safe_load(DEMO.read_text(encoding="utf-8"))
    columns = {"seller": "seller", "attributes": KEYS}
    document["catalog"]["source"] = {"kind": "table", "path": str(shop), "columns": columns}
    document["tracking"]["uri"] = tracking
    stewards = yaml.safe_load((DEMO.parent / document["expectations"]).read_text(encoding="utf-8"))
    document["expectations"] = [entry for entry in stewards if set(entry.get("keys") or KEYS) & set(KEYS)]
    for settings in (_SMALLER, changes):
        document = _with(document, settings)
    path.write_text(yaml.safe_dump(document, allow_unicode=True), encoding="utf-8")


def _with(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    changed = deepcopy(dict(settings))
    for key, value in changes.items():
        nested = isinstance(value, Mapping) and isinstance(changed.get(key), Mapping)
        changed[key] = _with(changed[key], value) if nested else value
    return changed
