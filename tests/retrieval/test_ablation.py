"""The ablation against plain means, its words and its figures."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from afmrl_models.retrieval.ablation import Ablation, AblationError, judge_rows
from afmrl_models.retrieval.ablation_plot import ablation_plot
from afmrl_models.retrieval.ablation_report import evidence, summary
from afmrl_models.retrieval.ladder import ladder_rows, rungs_of
from afmrl_models.retrieval.significance import bootstrap_interval, paired_bootstrap

LADDER = ["baseline", "agcl", "agcl_distilled", "afmrl", "afmrl_cit"]


def frame(rate: float, seed: int, queries: int = 200, ks=(1, 5, 10)) -> pd.DataFrame:
    draws = np.random.default_rng(seed).random(queries)
    columns = {f"recall_at_{k}": (draws < min(1.0, rate + 0.02 * k)).astype(float) for k in ks}
    head = {
        "task": "fine_grained",
        "query_id": [f"q{i:03}" for i in range(queries)],
        "product_id": [f"p{i // 2}" for i in range(queries)],
    }
    own = pd.DataFrame(head | columns | {f"map_at_{ks[-1]}": draws})
    half = own.head(queries // 2)
    return pd.concat(
        [
            own,
            half.assign(task="fine_grained_in_category"),
            own.assign(task="image_to_text", **dict.fromkeys(columns, 1.0)),
            own.assign(task="coarse_grained"),
        ]
    )


def of(rows: pd.DataFrame, task: str = "fine_grained") -> pd.DataFrame:
    return rows[rows["task"] == task]


@pytest.fixture(scope="module")
def frames() -> dict[str, dict[int, pd.DataFrame]]:
    rates = dict(
        zip([*LADDER, "baseline_distilled", "oracle"], (0.2, 0.3, 0.4, 0.5, 0.3, 0.25, 0.7), strict=True)
    )
    return {
        name: {seed: frame(rate, 10 * place + seed) for seed in (0, 1, 7)}
        for place, (name, rate) in enumerate(rates.items())
    }


@pytest.fixture(scope="module")
def judged(frames: dict[str, dict[int, pd.DataFrame]]) -> Ablation:
    downstream = {
        name: [{"downstream/nmi": s / 10, "fine_grained/x": 1.0} for s in seeds]
        for name, seeds in frames.items()
    }
    return judge_rows(frames, bootstrap=200, downstream=downstream)


def test_means_seeds_and_gains_are_plain_means(frames, judged: Ablation) -> None:
    assert judged.tasks == ("fine_grained", "fine_grained_in_category")
    for task in judged.tasks:
        rows = judged.rows[judged.rows["task"] == task].set_index("row")
        assert list(rows.index) == list(frames)
        assert set(rows["queries"]) == {200 if task == "fine_grained" else 100} and set(rows["seeds"]) == {3}
        seeds = judged.by_seed[judged.by_seed["task"] == task].set_index(["row", "seed"])
        for name, by_seed in frames.items():
            for k in (1, 5, 10):
                column = f"recall_at_{k}"
                own = {seed: of(part, task)[column].mean() for seed, part in by_seed.items()}
                assert rows.loc[name, column] == pytest.approx(np.mean(list(own.values())))
                assert (
                    rows.loc[name, f"{column}_low"]
                    < rows.loc[name, column]
                    < rows.loc[name, f"{column}_high"]
                )
                assert {seed: seeds.loc[(name, seed), column] for seed in own} == pytest.approx(own)
        rungs = judged.rungs[judged.rungs["task"] == task]
        for line in rungs.to_dict("records"):
            gains = [
                of(frames[line["row"]][seed], task)[line["metric"]].mean()
                - of(frames[line["over"]][seed], task)[line["metric"]].mean()
                for seed in (0, 1, 7)
            ]
            assert line["by_seed"] == pytest.approx(gains)
            assert line["difference"] == pytest.approx(np.mean(gains))
            assert line["relative"] == pytest.approx(np.mean(gains) / rows.loc[line["over"], line["metric"]])
            assert line["low"] < line["difference"] < line["high"]
            assert line["relative_low"] < line["relative"] < line["relative_high"]


def test_verdicts_say_where_zero_lies(judged: Ablation) -> None:
    chosen = judged.rungs[
        (judged.rungs["task"] == "fine_grained") & (judged.rungs["metric"] == "recall_at_1")
    ]
    verdicts = chosen.set_index("rung")["verdict"]
    assert verdicts["agcl - baseline"] == "above"
    assert verdicts["afmrl_cit - afmrl"] == "below"
    same = judge_rows({"baseline": frame(0.4, 0), "agcl": frame(0.4, 0)}, bootstrap=100).rungs
    assert set(same["verdict"]) == {"unclear"} and set(same["difference"]) == {0.0}


def test_one_seed_has_the_intervals_of_the_product_bootstrap() -> None:
    a, b = frame(0.4, 0), frame(0.5, 1)
    judged = judge_rows({"baseline": a, "agcl": [b]}, bootstrap=300, seed=3)
    row = judged.rows.set_index(["task", "row"]).loc[("fine_grained", "agcl")]
    values, reference = of(b)["recall_at_5"].to_numpy(), of(a)["recall_at_5"].to_numpy()
    products = of(b)["product_id"].tolist()
    assert (row["recall_at_5_low"], row["recall_at_5_high"]) == pytest.approx(
        tuple(bootstrap_interval(values, products, 300, 3))
    )
    rung = judged.rungs.set_index(["task", "metric"]).loc[("fine_grained", "recall_at_5")]
    expected = paired_bootstrap(values, reference, products, 300, 3)
    assert (rung["difference"], rung["low"], rung["high"]) == pytest.approx(tuple(expected))


def test_the_order_of_queries_does_not_matter(frames) -> None:
    shuffled = {
        name: {seed: part.sample(frac=1.0, random_state=seed) for seed, part in reversed(seeds.items())}
        for name, seeds in frames.items()
    }
    pd.testing.assert_frame_equal(
        judge_rows(frames, bootstrap=100).rungs, judge_rows(shuffled, bootstrap=100).rungs
    )


def test_rows_with_other_seeds_are_compared_without_pairs_of_seeds() -> None:
    rows = {"baseline": {0: frame(0.4, 0), 1: frame(0.4, 1)}, "agcl": {5: frame(0.6, 2)}}
    judged = judge_rows(rows, bootstrap=100)
    assert [list(gains) for gains in judged.rungs["by_seed"]] == [[]] * len(judged.rungs)
    assert (judged.rungs["difference"] > 0).all()
    assert "seeds: 1 to 2" in summary(judged)


def test_a_gain_over_nothing_has_no_ratio() -> None:
    nothing = frame(0.4, 0).assign(recall_at_1=0.0)
    line = judge_rows({"baseline": nothing, "agcl": frame(0.6, 1)}, bootstrap=100).rungs.iloc[0]
    assert line["metric"] == "recall_at_1" and line["difference"] > 0
    assert np.isnan([line["relative"], line["relative_low"], line["relative_high"]]).all()


def test_headlines_have_every_task_and_the_downstream_measures(frames, judged: Ablation) -> None:
    table = judged.headlines.set_index(["row", "task"])
    assert list(table.loc["oracle"].index) == [
        "fine_grained", "coarse_grained", "image_to_text", "fine_grained_in_category", "downstream",
    ]  # fmt: skip
    assert table.loc[("oracle", "coarse_grained"), "metric"] == "map_at_10"
    assert table.loc[("oracle", "image_to_text"), "value"] == 1.0
    expected = np.mean([of(part, "coarse_grained")["map_at_10"].mean() for part in frames["oracle"].values()])
    assert table.loc[("oracle", "coarse_grained"), "value"] == pytest.approx(expected)
    assert table.loc[("oracle", "downstream"), ["metric", "value"]].tolist() == [
        "nmi",
        pytest.approx(0.8 / 3),
    ]


def test_metrics_can_be_tracked_and_the_record_is_json(judged: Ablation) -> None:
    metrics = judged.metrics()
    assert {
        "agcl/fine_grained/recall_at_10",
        "gain/agcl - baseline/fine_grained_in_category/recall_at_1_low",
    } <= set(metrics)
    assert {"oracle/downstream/nmi", "afmrl/coarse_grained/map_at_10"} <= set(metrics)
    assert np.isfinite(list(metrics.values())).all()
    record = json.loads(json.dumps(judged.as_dict(), allow_nan=False))
    assert [line["row"] for line in record["rows"][:7]] == judged.rows["row"].tolist()[:7]
    assert record["headlines"][-1]["low"] is None


def test_rows_that_cannot_be_compared_are_named() -> None:
    good = frame(0.5, 0)
    with pytest.raises(AblationError, match=r"row 'b', seed 0: fine_grained.*1 differ, the first is 'q199'"):
        judge_rows({"a": good, "b": frame(0.5, 1, queries=199)})
    with pytest.raises(AblationError, match=r"row 'a', seed 4: fine_grained"):
        judge_rows({"a": {3: good, 4: frame(0.5, 1, queries=150)}})
    with pytest.raises(AblationError, match=r"row 'b' lacks \['recall_at_5'\]"):
        judge_rows({"a": good, "b": frame(0.5, 1, ks=(1, 10))})
    with pytest.raises(AblationError, match="share no task"):
        judge_rows({"a": of(good), "b": of(good, "coarse_grained")})
    with pytest.raises(AblationError, match="no rows"):
        judge_rows({})
    with pytest.raises(AblationError, match="row 'a' has no evaluation"):
        judge_rows({"a": []})


def test_without_products_the_first_other_task_is_judged() -> None:
    judged = judge_rows({"baseline": of(frame(0.5, 0), "coarse_grained")}, bootstrap=100)
    assert judged.tasks == ("coarse_grained",) and judged.rungs.empty
    assert summary(judged).startswith("coarse_grained: 200 queries")
    assert "coarse_grained map@10" in evidence(judged)


def test_the_ladder_climbs_round_by_round() -> None:
    names = [
        "agcl",
        "oracle",
        "afmrl_2",
        "baseline",
        "afmrl_cit_2",
        "afmrl",
        "agcl_distilled",
        "afmrl_cit",
        "afmrl_both",
    ]
    assert ladder_rows(names) == [*LADDER, "afmrl_2", "afmrl_cit_2"]
    rungs = {rung.name: rung.kind for rung in rungs_of(names)}
    assert [name for name, kind in rungs.items() if kind == "rung"] == [
        "agcl - baseline",
        "agcl_distilled - agcl",
        "afmrl - agcl_distilled",
        "afmrl_cit - afmrl",
        "afmrl_2 - afmrl_cit",
        "afmrl_cit_2 - afmrl_2",
    ]
    assert [name for name, kind in rungs.items() if kind == "all"] == [
        f"{name} - baseline" for name in ("afmrl", "afmrl_cit", "afmrl_2", "afmrl_cit_2")
    ]
    assert rungs["oracle - agcl"] == rungs["afmrl_both - afmrl"] == rungs["afmrl_both - baseline"] == "beside"
    assert "oracle_both - baseline" not in {rung.name for rung in rungs_of([*names, "oracle_both"])}
    assert "afmrl - afmrl_query" in {rung.name for rung in rungs_of(["afmrl", "afmrl_query"])}
    assert rungs_of(["afmrl"]) == []
    plain = rungs_of(["baseline", "baseline_distilled", "baseline_distilled_both", "agcl_distilled_both"])
    assert [rung.name for rung in plain if "baseline_distilled_both" in rung.name] == [
        "baseline_distilled_both - baseline",
        "agcl_distilled_both - baseline_distilled_both",
        "baseline_distilled_both - baseline_distilled",
    ]


def test_the_summary_is_short_and_narrow(judged: Ablation) -> None:
    text = summary(judged, {"oracle_both": "nobody states anything"})
    lines = text.splitlines()
    assert max(map(len, lines)) <= 110 and len(lines) < 25
    shown = [line.split("|")[1].strip() for line in lines if line.startswith("| ")]
    assert shown[1:7] == [*LADDER, "oracle"]
    assert shown[8:] == [
        "AGCL's weights",
        "distilled attributes",
        "RAR",
        "CIT",
        "all up to afmrl",
        "all up to afmrl_cit",
    ]
    assert "oracle_both was left out: nobody states anything" in text
    assert "3 seeds" not in text and "seeds: 3" in text


def test_the_evidence_has_every_table(judged: Ablation) -> None:
    text = evidence(judged, {"git revision": "abc"}, {"oracle_both": "nobody states anything"})
    assert "- git revision: `abc`" in text and "`oracle_both` was left out: nobody states anything." in text
    for task in judged.tasks:
        assert f"## {task}\n" in text
    assert text.count("### Each seed") == 2 and text.count("### What each rung adds") == 6
    assert "Recall@1, seed 7" in text and "baseline_distilled - baseline" in text
    assert "±" in text and "downstream nmi" in text


def test_plots_are_pictures(judged: Ablation, tmp_path) -> None:
    for task in judged.tasks:
        ablation_plot(judged, tmp_path / "plots" / f"{task}.png", task)
        pixels = np.asarray(Image.open(tmp_path / "plots" / f"{task}.png").convert("L"))
        assert pixels.shape[1] > 1000 and 0.5 < (pixels > 250).mean() < 0.999
    ablation_plot(judged, tmp_path / "ablation.svg")
    assert "<svg" in (tmp_path / "ablation.svg").read_text()
    ablation_plot(judge_rows({"other": frame(0.4, 0)}, bootstrap=100), tmp_path / "one.png")
    assert Image.open(tmp_path / "one.png").size[0] > 1000
