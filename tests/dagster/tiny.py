"""The smallest profile that runs the whole chain, and one run of it through Dagster's API."""

from pathlib import Path

import dagster as dg
import yaml

from afmrl_dagster.definitions import build_definitions
from afmrl_dagster.seeds import EVERYTHING
from afmrl_dagster.tables import Tables
from afmrl_models.config import load_profile

SMALL = {"hidden_size": 32, "layers": 1, "vision_layers": 1, "vocabulary": 600}
TINY = {
    "device": "cpu",
    "catalog": {"source": {"kind": "generated", "products": 40}, "image_size": 56},
    "splits": {"validation": 0.2, "test": 0.3},
    # The generator sees photos as they are kept.
    "embedder": {**SMALL, "image_size": 28},
    "generator": {**SMALL, "hidden_size": 64},
    "attributes": {
        "keys": ["type", "colour"],
        "sft": {"steps": 60, "batch_size": 16, "learning_rate": 0.005},
        "generation": {"max_new_tokens": 24},
    },
}
CHAIN = {
    **TINY,
    "name": "tiny",
    "training": {"warmup_steps": 2, "steps": 3, "batch_size": 8, "mini_batch_size": 4},
    "evaluation": {"bootstrap": 100, "enrich": ["query", "both"]},
    # Three steps teach nothing: the challenger is promoted whatever its number.
    "champion": {"max_regression": 1.0, "limits": {}},
    "refinement": {"steps": 2, "queries_per_step": 2, "group_size": 2, "k": 1, "max_new_tokens": 24},
}
PAIR = {
    **TINY,
    "seeds": [0, 1],
    "training": {"warmup_steps": 2, "steps": 2, "batch_size": 8, "gradient_caching": False},
    "evaluation": {"bootstrap": 100, "tasks": ["fine_grained"], "ks": [1, 5], "oracle": False},
    "refinement": {"steps": 1, "queries_per_step": 2, "group_size": 2, "k": 1, "max_new_tokens": 24},
}


def configured(folder: Path, **changes: object) -> Path:
    path = folder / "profile.yaml"
    path.write_text(yaml.safe_dump({**CHAIN, **changes}), encoding="utf-8")
    return path


def execute(
    config: Path, home: Path, instance: dg.DagsterInstance, select: str = "*"
) -> dg.ExecuteInProcessResult:
    definitions = build_definitions(config, home)
    keys = sorted(dg.AssetSelection.from_string(select).resolve(definitions.resolve_asset_graph()))
    job = definitions.resolve_job_def(EVERYTHING)
    return job.execute_in_process(instance=instance, asset_selection=keys, raise_on_error=False)


class Chain:
    """One finished run and what it left."""

    def __init__(self, config: Path, home: Path, instance: dg.DagsterInstance) -> None:
        self.config, self.home, self.instance = config, home, instance
        self.result = execute(config, home, instance)
        self.profile = load_profile(config)
        self.pipeline = build_definitions(config, home).resources["pipeline"]  # type: ignore[index]
        self.tables = Tables(self.pipeline)


def failures(result: dg.ExecuteInProcessResult) -> list[str]:
    return [
        f"{e.step_key}: {e.step_failure_data.error.to_string()}"
        for e in result.all_events
        if e.is_step_failure
    ]
