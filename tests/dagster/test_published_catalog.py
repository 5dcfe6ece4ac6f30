"""A benchmark in its published format through Dagster's catalog assets, and its labels into the metrics."""

from pathlib import Path

import dagster as dg
import numpy as np
import pytest
import yaml
from PIL import Image

from afmrl_dagster.definitions import build_definitions
from afmrl_dagster.seeds import EVERYTHING
from afmrl_dagster.tables import Tables
from afmrl_models.config import EvaluationConfig
from afmrl_models.retrieval.evaluation import evaluate_embedder


def line(listing_id: str, *labels: str) -> str:
    fields = [listing_id, f"title of {listing_id}", "https://a.example/x.jpg", "https://b.example/x.jpg"]
    return "#####".join([*fields, "#;#".join(labels)] if labels else fields) + "\n"


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    folder = tmp_path / "product1m"
    (folder / "images").mkdir(parents=True)
    gallery = {f"g{i}": [f"p{i % 6}"] for i in range(12)}
    queries = {"q0": ["p0", "p1", "p1"], "q1": ["p5"], "q2": ["unknown"], "g3": gallery["g3"]}
    files = {
        "train.txt": {f"t{i}": [] for i in range(6)},
        "gallery.txt": gallery,
        "test.txt": queries,
        "dev.txt": {"d0": ["p2", "p3"]},
    }
    for name, entries in files.items():
        (folder / name).write_text(
            "".join(line(i, *labels) for i, labels in entries.items()), encoding="utf-8"
        )
        for listing_id in entries:
            Image.new("RGB", (8, 8)).save(folder / "images" / f"{listing_id}.jpg")
    held_out = {
        split: {"query": f"{name}.txt", "gallery": "gallery.txt"}
        for split, name in (("test", "test"), ("validation", "dev"))
    }
    settings = {
        "name": "published",
        "device": "cpu",
        "catalog": {
            "source": {"kind": "product1m", "path": str(folder), "train": ["train.txt"], **held_out},
            "image_size": 28,
        },
        "splits": {"kind": "files"},
    }
    path = tmp_path / "profile.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


def materialize(profile: Path) -> tuple[dg.ExecuteInProcessResult, Tables]:
    home = profile.parent / "home"
    definitions = build_definitions(profile, home)
    keys = sorted(dg.AssetSelection.from_string("group:catalog").resolve(definitions.resolve_asset_graph()))
    with dg.DagsterInstance.ephemeral() as instance:
        job = definitions.resolve_job_def(EVERYTHING)
        result = job.execute_in_process(instance=instance, asset_selection=keys, raise_on_error=False)
    return result, Tables(definitions.resources["pipeline"])  # type: ignore[index]


def test_official_splits_and_labels_reach_the_metrics(profile: Path) -> None:
    result, tables = materialize(profile)
    assert result.success
    assert all(check.passed for check in result.get_asset_check_evaluations())
    assert tables.of("train")["listing_id"].tolist() == [f"t{i}" for i in range(6)]
    assert set(tables.of("test", role="query")["listing_id"]) == {"q0", "q1", "q2", "g3"}
    assert len(tables.of("test", role="gallery")) == len(tables.of("validation", role="gallery")) == 12

    def encode(side, modality, attributes) -> np.ndarray:
        return np.ones((len(side), 2), dtype=np.float32) / np.sqrt(2)

    evaluation = evaluate_embedder(
        None,
        tables.of("test"),
        tables.splits,
        None,
        EvaluationConfig(tasks=["fine_grained"], ks=[1, 12], bootstrap=100),
        seed=0,
        encode=encode,
    )
    # All similarities tie, so the gallery is ranked by id: g0 g1 g10 g11 g2 … for q0, whose answers are
    # g0 g1 g6 g7; for q1 they are g11 and g5; g3 finds g9 and never itself; nothing is relevant to q2.
    assert evaluation.metrics["fine_grained/queries"] == 3
    assert evaluation.metrics["fine_grained/queries_without_relevant"] == 1
    assert evaluation.metrics["fine_grained/recall_at_1"] == pytest.approx(1 / 3)
    assert evaluation.metrics["fine_grained/set_recall_at_12"] == 1.0
    assert evaluation.metrics["fine_grained/precision_capped_at_12"] == pytest.approx(
        (2 / 4 + 0 / 2 + 0 / 1) / 3
    )


def test_a_leak_stops_before_anything_is_written(profile: Path) -> None:
    train = profile.parent / "product1m" / "train.txt"
    train.write_text(train.read_text(encoding="utf-8") + line("q1"), encoding="utf-8")
    result, _ = materialize(profile)
    assert not result.success
    errors = " ".join(str(event.step_failure_data.error) for event in result.get_step_failure_events())
    assert "listing 'q1' is also in test.txt" in errors
    assert not (profile.parent / "home" / "published" / "catalog" / "listings").exists()
