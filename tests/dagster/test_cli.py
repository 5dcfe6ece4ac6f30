"""The command line: what it prints, and that a user's mistake is one message."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from afmrl_dagster import cli
from afmrl_dagster.cli import app
from afmrl_dagster.launch import as_typed
from afmrl_models.errors import UserError

runner = CliRunner()


def test_every_agreed_command_is_there() -> None:
    shown = runner.invoke(app, ["--help"]).output
    for command in ("demo", "run", "ui", "search", "serve", "generate-catalog", "embed", "evaluate"):
        assert command in shown


def test_generate_catalog_writes_a_table_and_photos(tmp_path: Path) -> None:
    done = runner.invoke(app, ["generate-catalog", "--products", "8", "--seed", "3", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    listings = pd.read_csv(tmp_path / "listings.csv")
    assert listings["product_id"].nunique() == 8
    assert all((tmp_path / image).exists() for image in listings["image"])


def test_evaluate_prints_json(tmp_path: Path) -> None:
    vectors = np.eye(3, dtype=np.float32)
    np.save(tmp_path / "q.npy", vectors[:2])
    np.save(tmp_path / "g.npy", vectors)
    ids = {"q": ["q0", "q1"], "g": ["g0", "g1", "g2"]}
    for name, lines in ids.items():
        (tmp_path / f"{name}.txt").write_text("\n".join(lines) + "\n")
    labels = pd.DataFrame({"listing_id": [*ids["q"], *ids["g"]], "label": ["a", "b", "a", "c", "b"]})
    labels.to_parquet(tmp_path / "labels.parquet")
    arguments = ["evaluate", "--query", "q.npy", "--gallery", "g.npy", "--labels", "labels.parquet"]
    arguments += ["--query-ids", "q.txt", "--gallery-ids", "g.txt", "--ks", "1,3"]
    done = runner.invoke(
        app, [str(tmp_path / a) if a.endswith((".npy", ".txt", ".parquet")) else a for a in arguments]
    )
    assert done.exit_code == 0, done.output
    metrics = json.loads(done.output)
    assert (metrics["recall_at_1"], metrics["recall_at_3"], metrics["queries"]) == (0.5, 1.0, 2)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["run", "--config", "nowhere.yaml"], "nowhere.yaml"),
        (["evaluate", "--query", "q.npy", "--gallery", "g.npy", "--labels", "l.parquet"], "q.npy"),
        (["evaluate", "--query", "q", "--gallery", "g", "--labels", "l", "--ks", "one"], "--ks"),
        (["embed", "--config", "CONFIG", "--model", "models:/no-such@champion", "--out", "OUT"], "no-such"),
        (["embed", "--config", "CONFIG", "--model", "no/such/folder", "--out", "OUT"], "no/such/folder"),
        (["search", "--config", "CONFIG"], "--image, --text"),
        (["search", "--config", "CONFIG", "--text", "a lamp"], "release/product_index was never made"),
        (["search", "--config", "CONFIG", "--listing", "a", "--text", "b"], "--listing stands alone"),
        (["search", "--config", "CONFIG", "--image", "no/photo.jpg"], "no/photo.jpg"),
        (["serve", "--config", "CONFIG"], "release/product_index was never made"),
        (["review", "--config", "CONFIG", "no/answers.csv"], "no/answers.csv"),
    ],
)
def test_a_mistake_is_a_message_that_names_it(
    arguments: list[str], named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text("name: mine\ncatalog: {source: {kind: generated, products: 8}}\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    places = {"CONFIG": str(config), "OUT": str(tmp_path / "out")}
    done = runner.invoke(app, [places.get(argument, argument) for argument in arguments])
    assert isinstance(done.exception, UserError)
    assert named in str(done.exception)


def test_main_turns_a_mistake_into_exit_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise UserError("the file x has no column y")

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "afmrl: the file x has no column y\n"


def test_what_to_type_next_is_a_path_where_the_command_is_not_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / ".venv" / "bin"
    installed.mkdir(parents=True)
    (installed / "afmrl").touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(installed / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert as_typed() == ".venv/bin/afmrl"
    monkeypatch.setenv("PATH", str(installed))
    assert as_typed() == "afmrl"
