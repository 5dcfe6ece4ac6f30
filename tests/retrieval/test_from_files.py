"""Metrics of matrices on disk, against a loop, and the errors that name what is wrong."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from afmrl_models.retrieval.from_files import EvaluationFileError, evaluate_files
from afmrl_models.retrieval.metrics import MetricsError


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    rng = np.random.default_rng(0)
    np.save(tmp_path / "q.npy", rng.standard_normal((8, 5)).astype(np.float32))
    np.save(tmp_path / "g.npy", rng.standard_normal((12, 5)).astype(np.float16))
    query_ids, gallery_ids = [f"q{i}" for i in range(8)], [f"g{i}" for i in range(12)]
    (tmp_path / "q.txt").write_text("\n".join(query_ids) + "\n")
    (tmp_path / "g.txt").write_text("\r\n".join(gallery_ids))
    labels = pd.DataFrame(
        {
            "listing_id": gallery_ids + query_ids,
            "label": [f"p{i % 4}" for i in range(12)] + [f"p{i % 5}" for i in range(8)],
        }
    )
    labels.to_parquet(tmp_path / "labels.parquet")
    names = {
        "query": "q.npy",
        "gallery": "g.npy",
        "labels": "labels.parquet",
        "query_ids": "q.txt",
        "gallery_ids": "g.txt",
    }
    return {name: tmp_path / file for name, file in names.items()}


def loop_hits(queries, gallery, query_labels, gallery_labels, k, query_ids, gallery_ids) -> list[float]:
    unit = [
        m.astype(float) / np.linalg.norm(m.astype(float), axis=1, keepdims=True) for m in (queries, gallery)
    ]
    hits = []
    for vector, labels, own in zip(unit[0], query_labels, query_ids, strict=True):
        others = [j for j, other in enumerate(gallery_ids) if other != own]
        if not any(labels & gallery_labels[j] for j in others):
            continue
        order = sorted(others, key=lambda j: -(unit[1][j] @ vector))[:k]
        hits.append(float(any(labels & gallery_labels[j] for j in order)))
    return hits


def test_metrics_equal_a_loop(files) -> None:
    metrics = evaluate_files(**files, ks=(1, 3))
    table = pd.read_parquet(files["labels"]).set_index("listing_id")["label"]
    q_ids, g_ids = [f"q{i}" for i in range(8)], [f"g{i}" for i in range(12)]
    for k in (1, 3):
        hits = loop_hits(
            np.load(files["query"]),
            np.load(files["gallery"]),
            [{table[i]} for i in q_ids],
            [{table[i]} for i in g_ids],
            k,
            q_ids,
            g_ids,
        )
        assert metrics[f"recall_at_{k}"] == pytest.approx(np.mean(hits))
    assert (metrics["queries"], metrics["queries_without_relevant"]) == (7, 1)


def test_ids_can_come_from_the_rows_of_labels(files, tmp_path) -> None:
    named = evaluate_files(**files)
    table = pd.read_parquet(files["labels"])
    pd.concat([table[12:], table[:12]]).to_parquet(tmp_path / "in_order.parquet")
    assert evaluate_files(files["query"], files["gallery"], tmp_path / "in_order.parquet") == named


def test_one_matrix_against_itself_with_several_labels(tmp_path) -> None:
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((20, 4)).astype(np.float32)
    np.save(tmp_path / "v.npy", vectors)
    labels = [sorted({str(x) for x in rng.integers(0, 12, 2)}) for _ in range(20)]
    labels[3] = []
    ids = [f"l{i}" for i in range(20)]
    pd.DataFrame({"listing_id": ids, "label": labels}).to_parquet(tmp_path / "labels.parquet")
    metrics = evaluate_files(tmp_path / "v.npy", tmp_path / "v.npy", tmp_path / "labels.parquet", ks=[2])
    sets = [set(row) for row in labels]
    hits = loop_hits(vectors, vectors, sets, sets, 2, ids, ids)
    assert metrics["recall_at_2"] == pytest.approx(np.mean(hits))
    assert metrics["queries"] == len(hits) and metrics["queries_without_relevant"] == 20 - len(hits) >= 1


def test_dot_products_keep_the_lengths(tmp_path) -> None:
    np.save(tmp_path / "q.npy", np.array([[1.0, 0.0]]))
    np.save(tmp_path / "g.npy", np.array([[1.0, 0.0], [5.0, 5.0]]))
    pd.DataFrame({"listing_id": ["q", "a", "b"], "label": ["x", "x", "y"]}).to_parquet(tmp_path / "l.parquet")
    paths = tmp_path / "q.npy", tmp_path / "g.npy", tmp_path / "l.parquet"
    assert evaluate_files(*paths, ks=[1])["recall_at_1"] == 1.0
    assert evaluate_files(*paths, ks=[1], similarity="dot")["recall_at_1"] == 0.0


def overwrite(path: Path, matrix: np.ndarray) -> None:
    np.save(path, matrix)


BROKEN = {
    "nan": (lambda f: overwrite(f["query"], np.full((8, 5), np.nan)), r"q\.npy.*NaN.*row 0 \('q0'\)"),
    "zero": (lambda f: overwrite(f["gallery"], np.zeros((12, 5))), r"g\.npy.*zeros.*row 0 \('g0'\)"),
    "dimensions": (lambda f: overwrite(f["gallery"], np.ones((12, 4))), "5 dimensions, .*has 4"),
    "one axis": (lambda f: overwrite(f["gallery"], np.ones(12)), r"g\.npy.*\(12,\)"),
    "whole numbers": (
        lambda f: overwrite(f["gallery"], np.ones((12, 5), dtype=int)),
        r"g\.npy.*floats.*int64",
    ),
    "pickle": (lambda f: np.save(f["query"], np.array([{}], dtype=object)), r"q\.npy cannot be read"),
    "no matrix": (lambda f: f["query"].unlink(), r"q\.npy cannot be read"),
    "too few ids": (
        lambda f: f["query_ids"].write_text("q0\nq1\n"),
        r"q\.txt has 2 ids, but .*q\.npy has 8 rows",
    ),
    "no ids": (lambda f: f["query_ids"].write_text(""), r"q\.txt has 0 ids"),
    "repeated id": (
        lambda f: f["query_ids"].write_text("q0\n" * 8),
        r"q\.txt: id 'q0' stands in line 1 and in line 2",
    ),
    "unlabelled": (
        lambda f: pd.read_parquet(f["labels"])[:-1].to_parquet(f["labels"]),
        r"labels\.parquet has no row for 1 listings of .*q\.txt, the first is 'q7'",
    ),
    "no label column": (
        lambda f: pd.read_parquet(f["labels"])[["listing_id"]].to_parquet(f["labels"]),
        r"labels\.parquet needs the columns listing_id and label",
    ),
    "label row twice": (
        lambda f: pd.read_parquet(f["labels"]).iloc[[0, *range(20)]].to_parquet(f["labels"]),
        "'g0' occurs twice, again in row 1",
    ),
    "not parquet": (lambda f: f["labels"].write_text("x"), r"labels\.parquet needs"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_errors_name_the_file_and_the_place(files, case) -> None:
    breaking, message = BROKEN[case]
    breaking(files)
    with pytest.raises(EvaluationFileError, match=message):
        evaluate_files(**files)


def test_ids_that_are_unclear_are_asked_for(files) -> None:
    with pytest.raises(EvaluationFileError, match="both, or neither"):
        evaluate_files(files["query"], files["gallery"], files["labels"], query_ids=files["query_ids"])
    pd.DataFrame({"listing_id": ["a"], "label": ["b"]}).to_parquet(files["labels"])
    with pytest.raises(EvaluationFileError, match=r"8 rows, .* has 12, .* has 1: which row"):
        evaluate_files(files["query"], files["gallery"], files["labels"])


@pytest.mark.parametrize("ks", [(), (0,), (5, 5)])
def test_cut_offs_that_mean_nothing_are_refused(files, ks) -> None:
    with pytest.raises(MetricsError, match="ks must be"):
        evaluate_files(**files, ks=ks)
