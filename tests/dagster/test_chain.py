"""The whole chain on a few dozen products, through Dagster's API, on the code path of the large models."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny import Chain, configured, failures

from afmrl_dagster.defs.leakage import LEARNED_FROM_TRAINING, learners
from afmrl_dagster.defs.release.generator_quality import GENERATOR_QUALITY
from afmrl_models.catalog.learned_from import read_record


def test_everything_materializes(chain: Chain) -> None:
    assert failures(chain.result) == []
    assert chain.result.success


def test_each_model_sees_photos_at_its_own_size(chain: Chain) -> None:
    edges = {}
    for model in ("round_0/embedder", "round_1/attribute_generator"):
        directory = chain.pipeline.directory(model.split("/"))
        settings = json.loads((directory / "processor_config.json").read_text(encoding="utf-8"))
        edges[model] = settings["image_processor"]["size"]["longest_edge"] ** 0.5
    assert edges == {"round_0/embedder": 28, "round_1/attribute_generator": 56}


def test_no_row_is_lost_and_checks_have_passed(chain: Chain) -> None:
    results = {e.check_name: e.passed for e in chain.result.get_asset_check_evaluations()}
    assert results["rows_accounted"] and results["products_in_one_split"] and results["vectors_are_sound"]


def records(chain: Chain) -> dict[str, dict[str, set[str]]]:
    return {
        "/".join(key): {
            what: set(ids)
            for what, ids in read_record(chain.pipeline.directory(key)).groupby("what")["listing_id"]
        }
        for key in learners(chain.pipeline.profile())
    }


def test_all_that_learns_leaves_a_record_of_training_listings(chain: Chain) -> None:
    train = set(chain.tables.of("train")["listing_id"])
    seen = records(chain)
    assert {asset: set(steps) for asset, steps in seen.items()} == {
        "models/base_embedder": {"tokenizer", "training pairs", "BM25 documents"},
        "models/base_generator": {"tokenizer"},
        "attributes/teacher_attributes": {"teacher"},
        "round_0/attribute_generator": {"distillation"},
        "round_1/attribute_generator": {"RAR gallery", "RAR queries"},
        "baseline/embedder": {"training pairs", "BM25 documents"},
        "round_0/embedder": {"training pairs", "BM25 documents"},
        "round_1/embedder": {"training pairs", "BM25 documents"},
    }
    for steps in seen.values():
        assert all(ids and ids <= train for ids in steps.values())
    for asset, step in (
        ("models/base_embedder", "tokenizer"),
        ("round_0/embedder", "BM25 documents"),
        ("round_1/attribute_generator", "RAR gallery"),
        ("attributes/teacher_attributes", "teacher"),
    ):
        assert seen[asset][step] == train
    checks = [e for e in chain.result.get_asset_check_evaluations() if e.check_name == LEARNED_FROM_TRAINING]
    assert len(checks) == len(seen) and all(check.passed for check in checks)


def test_the_ablation_has_the_five_rows_with_numbers(chain: Chain) -> None:
    folder = chain.pipeline.directory(("release", "ablation"))
    table = pd.read_parquet(folder / "ablation.parquet")
    assert set(table["task"]) == {"fine_grained", "fine_grained_in_category"}
    table = table[table["task"] == "fine_grained"]
    ladder = ["baseline", "agcl", "agcl_distilled", "afmrl", "afmrl_cit"]
    beside = ["baseline_distilled", "oracle"]
    both = [f"{row}_both" for row in ("baseline_distilled", "agcl_distilled", "oracle", "afmrl", "afmrl_cit")]
    assert sorted(table["row"]) == sorted(ladder + beside + both)
    record = json.loads((folder / "ablation.json").read_text())
    assert record["about"]["profile_digest"] == chain.profile.digest()
    assert record["about"]["git_revision"] and record["left_out"] == {}
    assert {line["rung"] for line in record["rungs"]} >= {"agcl - baseline", "afmrl_cit - baseline"}
    assert "## All tasks" in (folder / "evidence.md").read_text()
    assert (folder / "ablation_fine_grained_in_category.png").exists()
    recall = table["recall_at_1"]
    assert recall.between(0, 1).all()
    assert (table["recall_at_10"] >= recall).all()


def test_the_generators_are_judged_by_themselves(chain: Chain) -> None:
    folder = chain.pipeline.directory(GENERATOR_QUALITY)
    values, texts = (pd.read_parquet(folder / f"{name}.parquet") for name in ("values", "texts"))
    assert set(values["round"]) == {0, 1} and set(values["against"]) == {"product", "listing"}
    assert set(values["key"]) <= {"type", "colour"}
    for share in ("precision", "recall", "said"):
        assert values[share].dropna().between(0, 1).all()
    assert set(texts["seed"]) == {0}
    assert (texts["texts"] == len(chain.tables.of("test", role="query"))).all()
    markdown = (folder / "generator_quality.md").read_text(encoding="utf-8")
    assert "## Values, by key and round" in markdown and "| colour |" in markdown
    assert (folder / "rar_curves_seed_0_round_1.png").stat().st_size > 0
    assert 'src="http' not in (folder / "refined_texts_seed_0_round_1.html").read_text(encoding="utf-8")
    (event,) = chain.result.asset_materializations_for_node("release__generator_quality")
    assert event.metadata["curves_seed_0_round_1"].value.startswith("![RAR's curves](data:image/png")


def test_a_registered_generator_holds_no_record_of_its_training(chain: Chain) -> None:
    from afmrl_models.registry.models import local_directory

    left = chain.pipeline.directory(("round_1", "attribute_generator"))
    assert {"history.parquet", "samples.parquet", "learned_from.parquet"} <= {p.name for p in left.iterdir()}
    packaged = local_directory(chain.pipeline.tracking(), "models:/tiny-generator@champion")
    assert not list(packaged.rglob("*.parquet"))


def test_the_champion_is_loaded_back_and_returns_the_same_vectors(chain: Chain) -> None:
    import mlflow
    from sentence_transformers import SentenceTransformer

    from afmrl_models.embedding.embedder import encode_listings, load_embedder
    from afmrl_models.registry.models import local_directory

    tracking = chain.pipeline.tracking()
    tracking.activate()
    uri = "models:/tiny-embedder@champion"
    few = chain.tables.listings.head(6)
    attributes = dict.fromkeys(few["listing_id"].head(3), "colour: red")
    expected = encode_listings(
        load_embedder(chain.pipeline.directory(("round_1", "embedder")), "cpu"),
        few, chain.tables.images, "multimodal", attributes, 4,
    )  # fmt: skip
    directory = local_directory(tracking, uri)
    again = encode_listings(
        SentenceTransformer(str(directory), device="cpu"),
        few,
        chain.tables.images,
        "multimodal",
        attributes,
        4,
    )
    np.testing.assert_allclose(again, expected, atol=1e-5)

    root = chain.pipeline.directory(("catalog", "raw_catalog"))
    frame = pd.DataFrame(
        {
            "image_path": [str(next(root.rglob(Path(path).name))) for path in few["image_path"]],
            "title": few["title"],
            "attributes": [attributes.get(i) for i in few["listing_id"]],
        }
    )
    vectors = np.asarray(mlflow.pyfunc.load_model(uri).predict(frame), dtype=np.float32)
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_every_model_and_evaluation_is_an_mlflow_run_with_the_same_metrics(chain: Chain) -> None:
    client = chain.pipeline.tracking().client
    experiment = client.get_experiment_by_name("tiny")
    runs = {
        run.info.run_name.partition(" · ")[0]: run for run in client.search_runs([experiment.experiment_id])
    }
    rows = [runs[f"evaluation/{row}"] for row in ("baseline", "agcl", "agcl_distilled", "afmrl", "afmrl_cit")]
    assert len({frozenset(run.data.metrics) for run in rows}) == 1
    assert "fine_grained/recall_at_1" in rows[0].data.metrics
    for run in runs.values():
        assert {"dagster.run_id", "git.revision", "profile", "round", "catalog.digest"} <= set(run.data.tags)
    assert any(name.startswith("train/") or name == "loss" for name in runs["round_0/embedder"].data.metrics)
    assert any("reward" in name for name in runs["round_1/attribute_generator"].data.metrics)


TABLES = {
    "catalog/raw_catalog", "catalog/listings", "catalog/splits", "attributes/teacher_attributes",
    "round_0/product_attributes", "round_1/product_attributes",
    "release/ablation", "release/generator_quality",
}  # fmt: skip
WITHOUT_A_PICTURE = {
    "catalog/raw_catalog", "models/base_generator", "release/champion", "release/product_index",
}  # fmt: skip
WITH_A_RUN = {"embedder", "base_embedder", "attribute_generator", "ablation", "generator_quality", "champion"}


def test_tables_say_how_large_they_are_models_link_to_their_run_and_most_show_a_picture(chain: Chain) -> None:
    events = {e.asset_key.to_user_string(): e for e in chain.result.get_asset_materialization_events()}
    for asset, event in events.items():
        shown = dict(event.materialization.metadata)
        if asset in TABLES:
            assert shown["dagster/row_count"].value > 0, asset
            schema = shown["dagster/column_schema"].schema
            assert len(schema.columns) > 1, asset
            assert Path(str(shown["file"].value)).exists(), asset
        if asset in TABLES and asset.split("/")[0] != "release":
            assert all(column.description for column in schema.columns), asset
        pictures = {name: str(v.value) for name, v in shown.items() if "](data:image/" in str(v.value)}
        assert bool(pictures) or asset in WITHOUT_A_PICTURE, asset
        assert all(len(markdown) < 400_000 for markdown in pictures.values()), asset
        if asset.split("/")[1] in WITH_A_RUN:
            assert "/runs/" in shown["mlflow_run"].value, asset
    assert set(events) >= TABLES
    sample = events["catalog/listings"].materialization.metadata["sample"].value
    assert sample.startswith("![sample listings](data:image/jpeg;base64,")


def test_checks_show_what_was_counted_as_a_table(chain: Chain) -> None:
    for result in chain.result.get_asset_check_evaluations():
        if result.check_name in {
            "rows_accounted",
            "queries_answerable",
            LEARNED_FROM_TRAINING,
            "validity_rate",
        }:
            counts = result.metadata["counts"].value
            assert counts.startswith("| ") and "passed" in counts and "| yes |" in counts, result.check_name


def test_two_versions_line_up_in_mlflow(chain: Chain) -> None:
    client = chain.pipeline.tracking().client
    experiment = client.get_experiment_by_name("tiny")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    one, two = (runs[f"{group}/embedder · seed 0"] for group in ("round_0", "round_1"))
    assert one.data.metrics.keys() == two.data.metrics.keys() >= {"train/loss", "result/train_loss"}
    differ = {name for name in one.data.params if one.data.params[name] != two.data.params[name]}
    assert differ == {"attributes_of"}
    assert {"training.steps", "embedder.hidden_size", "catalog.image_size"} <= one.data.params.keys()
    digest = chain.tables.catalog_digest()
    for run in (one, two, runs["evaluation/afmrl · round_1 · seed 0"]):
        (used,) = run.inputs.dataset_inputs
        assert used.dataset.digest == digest[:36] and run.data.tags["catalog.digest"] == digest
    for number in (1, 2, 3):
        version = client.get_model_version("tiny-embedder", str(number))
        assert version.tags["catalog.digest"] == digest
        assert {"round", "kind", "seed", "git.revision"} <= version.tags.keys()
    refined = runs["round_1/attribute_generator · seed 0"]
    losses = [client.get_metric_history(run.info.run_id, "train/loss") for run in (one, two)]
    assert [[m.step for m in curve] for curve in losses] == [[1, 2, 3], [1, 2, 3]]
    curves = {"rar/reward_mean", "rar/no_signal_share", "rar/text_length", "train/loss"}
    assert curves <= refined.data.metrics.keys()
    steps = [m.step for m in client.get_metric_history(refined.info.run_id, "rar/reward_mean")]
    assert steps == [1, 2]


def test_the_sampled_texts_are_in_mlflow_with_their_photos(chain: Chain) -> None:
    tracking = chain.pipeline.tracking()
    runs = tracking.client.search_runs([tracking.experiment_id()], "tags.kind = 'attribute_generator'")
    (refined,) = [run for run in runs if run.data.tags["round"] == "round_1"]
    tables = tracking.client.load_table(tracking.experiment_id(), "rar_samples.json", [refined.info.run_id])
    assert {"photo", "prompt", "completion", "reward", "advantage", "step"} <= set(tables.columns)
    assert all(photo["type"] == "image" for photo in tables["photo"])
    page = Path(tracking.client.download_artifacts(refined.info.run_id, "rar_samples.html")).read_text(
        "utf-8"
    )
    assert page.count("data:image/jpeg;base64,") == tables.groupby(["step", "listing_id"]).ngroups
    assert "http://" not in page and "https://" not in page


def test_groups_cover_only_known_listings(chain: Chain) -> None:
    groups = pd.read_parquet(
        chain.pipeline.directory(("release", "identical_products")) / "identical_products.parquet"
    )
    assert set(groups["listing_id"]) <= set(chain.tables.listings["listing_id"])
    assert (groups.groupby("group_id").size() >= 2).all()


def test_the_page_of_groups_is_linked_and_in_mlflow(chain: Chain) -> None:
    folder = chain.pipeline.directory(("release", "identical_products"))
    page = (folder / "identical_products.html").read_text(encoding="utf-8")
    assert "groups of identical products" in page and "precision" in page
    assert 'src="http' not in page and "data:image/jpeg;base64," in page
    (event,) = chain.result.asset_materializations_for_node("release__identical_products")
    assert str(event.metadata["page"].value).endswith("/artifacts/identical_products.html")
    tracking = chain.pipeline.tracking()
    (run,) = tracking.client.search_runs([tracking.experiment_id()], "tags.kind = 'identical_products'")
    assert run.info.run_id in str(event.metadata["page"].value)
    logged = Path(tracking.client.download_artifacts(run.info.run_id, "identical_products.html"))
    assert logged.read_text(encoding="utf-8") == page
    assert run.data.metrics["groups"] == event.metadata["groups"].value
    assert "test/recall" in run.data.metrics


def test_search_answers_from_the_champion_s_index(
    chain: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from afmrl_dagster.cli import app

    monkeypatch.setenv("AFMRL_HOME", str(chain.home))

    def search(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["search", "--config", str(chain.config), *arguments])
        assert done.exit_code == 0, done.output + str(done.exception)
        return done.stdout

    listing = chain.tables.listings.iloc[7]
    photo = tmp_path / "photo.png"
    chain.tables.images.get(listing["listing_id"]).save(photo)
    sheet = tmp_path / "sheets" / "found.html"
    asked = ["--image", str(photo), "--text", listing["title"]]
    plain = json.loads(search(*asked, "--no-generator", "--json", "--sheet", str(sheet)))
    assert plain["results"][0]["listing_id"] == listing["listing_id"]
    assert plain["query"]["attributes"] is None and len(plain["results"]) == 10
    assert sheet.read_text(encoding="utf-8").count("data:image/jpeg;base64,") == 11
    written = json.loads(search(*asked, "--json"))
    if written["query"]["attributes"] is None:
        assert "is no attribute text" in written["notes"][0]
    else:
        assert written["query"]["attributes_by"].startswith("models:/tiny-generator/")
    table = search("--listing", listing["listing_id"], "-k", "3")
    nearest = json.loads(search("--listing", listing["listing_id"], "-k", "3", "--json"))["results"]
    assert all(found["listing_id"] in table for found in nearest)
    assert listing["listing_id"] not in table


def test_a_person_s_answers_are_taken_over(
    chain: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from afmrl_dagster.cli import app

    monkeypatch.setenv("AFMRL_HOME", str(tmp_path))
    answers = tmp_path / "answers.csv"
    answers.write_text("left_id,right_id,decision\na,b,same\n", encoding="utf-8")
    done = CliRunner().invoke(app, ["review", "--config", str(chain.config), str(answers)])
    assert done.exit_code == 0 and "1 new answers" in done.stdout
    assert "a,b,same" in (tmp_path / "tiny" / "reviewed_pairs.csv").read_text(encoding="utf-8")


def test_embed_takes_any_catalog_through_the_registered_models(
    chain: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from afmrl_dagster.cli import app

    monkeypatch.setenv("AFMRL_HOME", str(chain.home))
    other = configured(
        tmp_path, catalog={"source": {"kind": "generated", "products": 8, "seed": 5}, "image_size": 28}
    )
    arguments = ["embed", "--config", str(other), "--model", "models:/tiny-embedder@champion"]
    arguments += ["--generator", "models:/tiny-generator@champion", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    vectors = np.load(tmp_path / "out" / "embeddings.npy")
    ids = (tmp_path / "out" / "listing_ids.txt").read_text().splitlines()
    attributes = pd.read_parquet(tmp_path / "out" / "attributes.parquet")
    assert len(vectors) == len(ids) == len(attributes) >= 16
    assert set(attributes["listing_id"]) == set(ids)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("nothing has changed")

    monkeypatch.setattr("afmrl_models.embedding.catalog_vectors.encode_listings", never)
    monkeypatch.setattr("afmrl_models.attributes.generator.AttributeGenerator.write", never)
    assert CliRunner().invoke(app, arguments, catch_exceptions=False).exit_code == 0
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "embeddings.npy"), vectors)


def test_the_decision_has_a_page_in_dagster_and_on_the_version(chain: Chain) -> None:
    (event,) = chain.result.asset_materializations_for_node("release__champion")
    page = Path(str(event.metadata["report_file"].value)).read_text(encoding="utf-8")
    assert "Promoted: the first champion." in page and "Queries won and lost" in page
    assert not re.findall(r'(?:src|href)="(?!data:image/jpeg;base64,|#)', page)
    client = chain.pipeline.tracking().client
    version = client.get_model_version_by_alias("tiny-embedder", "champion")
    assert version.tags["afmrl.report"] == event.metadata["report"].value
    run_id = str(event.metadata["report"].value).split("/runs/")[1].split("/")[0]
    logged = client.download_artifacts(run_id, "champion-versus-challenger.html")
    assert Path(logged).read_text(encoding="utf-8") == page
