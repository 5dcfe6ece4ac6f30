"""What the ablation reads: every row of every seed, and why a row is missing."""

import json
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from afmrl_dagster.defs.release.ablation import evaluated
from afmrl_dagster.defs.rounds.evaluations import LEFT_OUT, metrics_key
from afmrl_dagster.defs.rounds.unroll import rows_of
from afmrl_dagster.resources import Pipeline
from afmrl_models.config import EvaluationConfig
from afmrl_models.retrieval.evaluation import Evaluation


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    config = tmp_path / "profile.yaml"
    config.write_text("name: two\nseeds: [3, 5]\ncatalog: {source: {kind: generated}}\n", encoding="utf-8")
    return Pipeline(config_path=str(config), home=str(tmp_path / "home"))


def test_every_seed_of_every_row_is_read_and_a_row_without_truth_is_left_out(pipeline: Pipeline) -> None:
    rows = rows_of(1, EvaluationConfig())
    for seed in (3, 5):
        for group, group_rows in rows.items():
            directory = pipeline.of_seed(seed).directory(metrics_key(group))
            directory.mkdir(parents=True)
            missing = {"oracle": "nobody states anything"} if group == "round_0" else {}
            (directory / LEFT_OUT).write_text(json.dumps(missing), encoding="utf-8")
            for row in group_rows:
                if row.name not in missing:
                    empty = pd.DataFrame({"task": []})
                    Evaluation({"x": float(seed)}, {}, empty, empty, {}).save(directory / row.name)
    evaluations, left_out = evaluated(pipeline, rows)
    assert left_out == {"oracle": "nobody states anything"}
    assert "oracle" not in evaluations and len(evaluations) == 6
    for seeds in evaluations.values():
        assert {seed: evaluation.metrics["x"] for seed, evaluation in seeds.items()} == {3: 3.0, 5: 5.0}


def test_a_seed_that_was_not_evaluated_is_named(pipeline: Pipeline) -> None:
    with pytest.raises(dg.Failure, match="seed 3 has no baseline/retrieval_metrics"):
        evaluated(pipeline, rows_of(1, EvaluationConfig()))
