"""The ablation table against plain means, and its figure."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from afmrl_models.retrieval.ablation import AblationError, ablation_plot, ablation_table


def frame(rate: float, seed: int, queries: int = 200, ks=(1, 5, 10)) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    draws = rng.random(queries)
    columns = {f"recall_at_{k}": (draws < min(1.0, rate + 0.02 * k)).astype(float) for k in ks}
    head = {
        "task": "fine_grained",
        "query_id": [f"q{i}" for i in range(queries)],
        "product_id": [f"p{i // 2}" for i in range(queries)],
    }
    own = pd.DataFrame(head | columns)
    return pd.concat([own, own.assign(task="image_to_text", **dict.fromkeys(columns, 1.0))])


def fine(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["task"] == "fine_grained"]


def test_rows_seeds_and_differences() -> None:
    baseline, better = frame(0.4, 0), [frame(0.6, 1), frame(0.6, 2)]
    shuffled = [better[0].sample(frac=1.0, random_state=0), better[1]]
    table = ablation_table(
        {"baseline": baseline, "agcl": shuffled, "same": baseline}, bootstrap=200
    ).set_index("row")
    assert list(table.index) == ["baseline", "agcl", "same"]
    assert table.loc["agcl", ["seeds", "queries"]].tolist() == [2, 200]
    for k in (1, 5, 10):
        column = f"recall_at_{k}"
        expected = np.mean([fine(rows)[column].mean() for rows in better])
        assert table.loc["agcl", column] == pytest.approx(expected)
        assert table.loc["agcl", f"{column}_difference"] == pytest.approx(
            expected - fine(baseline)[column].mean()
        )
        low, high = table.loc["agcl", [f"{column}_difference_low", f"{column}_difference_high"]]
        assert 0 < low < expected - fine(baseline)[column].mean() < high
        assert table.loc["agcl", f"{column}_low"] < expected < table.loc["agcl", f"{column}_high"]
        assert table.loc["same", [f"{column}_difference", f"{column}_difference_low"]].tolist() == [0.0, 0.0]
        assert np.isnan(table.loc["baseline", f"{column}_difference"])


def test_rows_that_cannot_be_compared_are_named() -> None:
    good = frame(0.5, 0)
    with pytest.raises(AblationError, match=r"row 'b'.*differ in 1 queries, the first is 'q199'"):
        ablation_table({"a": good, "b": frame(0.5, 1, queries=199)})
    with pytest.raises(AblationError, match=r"row 'b' lacks \['recall_at_5'\]"):
        ablation_table({"a": good, "b": frame(0.5, 1, ks=(1, 10))})
    with pytest.raises(AblationError, match="row 'a' has no queries of coarse_grained"):
        ablation_table({"a": good}, task="coarse_grained")
    with pytest.raises(AblationError, match="baseline 'x'"):
        ablation_table({"a": good}, baseline="x")
    with pytest.raises(AblationError, match="no rows"):
        ablation_table({})
    with pytest.raises(AblationError, match="row 'a' has no evaluation"):
        ablation_table({"a": []})


def test_plot_is_a_picture(tmp_path) -> None:
    table = ablation_table({"baseline": frame(0.4, 0), "agcl": frame(0.5, 1)}, bootstrap=100)
    ablation_plot(table, tmp_path / "plots" / "ablation.png")
    pixels = np.asarray(Image.open(tmp_path / "plots" / "ablation.png").convert("L"))
    assert pixels.shape[1] > 1000 and 0.5 < (pixels > 250).mean() < 0.999
    ablation_plot(table, tmp_path / "ablation.svg")
    assert "<svg" in (tmp_path / "ablation.svg").read_text()
