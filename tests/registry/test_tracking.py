import math
import socket
import time
from pathlib import Path

import mlflow
import pandas as pd
import pytest
import sqlalchemy
from matplotlib.figure import Figure
from mlflow.entities import Dataset, DatasetInput
from mlflow.store.tracking.dbmodels.models import SqlDataset
from PIL import Image

from afmrl_models.registry.tracking import PARAMETER_CHARACTERS, Tracking, TrackingError, flatten


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    return Tracking(None, tmp_path_factory.mktemp("home"), "small")


def test_runs_that_their_process_has_abandoned_are_ended_and_others_left_alone(tracking: Tracking) -> None:
    experiment = tracking.experiment_id()
    tags = [("e", "killed"), ("e", "alive"), ("g", "killed")]
    runs = [tracking.client.create_run(experiment, tags={"asset": a, "night": n}) for a, n in tags]
    tracking.end_abandoned({"asset": "e"}, lambda tags: tags["night"] == "killed")
    found = [tracking.client.get_run(run.info.run_id).info.status for run in runs]
    assert found == ["KILLED", "RUNNING", "RUNNING"]


def test_a_run_keeps_everything_it_was_given(tracking: Tracking, tmp_path: Path) -> None:
    listings = pd.DataFrame(
        {"listing_id": ["a", "b"], "product_id": ["p", None], "attributes": [{"colour": "red"}, None]}
    )
    (tmp_path / "note.txt").write_text("kept")
    with tracking.run("baseline", tags={"round": 0, "git": None}) as run:
        run.log_params({"training": {"steps": 3, "kinds": ["a"]}, **{f"p{i}": i for i in range(230)}})
        dataset = run.log_dataset(listings, "listings", "ab" * 32, "training")
        run.log_metrics({"fine_grained/recall_at_1": 0.25}, step=2, dataset=dataset)
        run.log_figure(Figure(), "plots/empty.png")
        run.log_artifact(tmp_path / "note.txt", "notes")
        samples = pd.DataFrame(
            {"photo": [Image.new("RGB", (28, 28), c) for c in ("red", "blue")], "reward": [0.0, 1.0]}
        )
        run.log_table(samples, "samples/rar.json")
        run.log_image(Image.new("RGB", (28, 28)), "sheet.png")
        assert samples["photo"][0].size == (28, 28), "the caller's table is left alone"

    stored = tracking.client.get_run(run.run_id)
    assert stored.info.status == "FINISHED"
    assert stored.data.tags["round"] == "0" and "git" not in stored.data.tags
    assert stored.data.params["training.steps"] == "3" and stored.data.params["p229"] == "229"
    assert stored.data.params["training.kinds"] == '["a"]'
    assert stored.data.metrics == {"fine_grained/recall_at_1": 0.25}
    [used] = stored.inputs.dataset_inputs
    assert (used.dataset.name, used.dataset.digest) == ("listings", ("ab" * 32)[:36])
    table = tracking.client.load_table(tracking.experiment_id(), "samples/rar.json")
    picture = tracking.client.download_artifacts(run.run_id, table["photo"][1]["filepath"])
    assert Image.open(picture).getpixel((3, 3)) == (0, 0, 255)
    assert "sheet.png" in {f.path for f in tracking.client.list_artifacts(run.run_id)}
    names = {f.path for f in tracking.client.list_artifacts(run.run_id, "notes")}
    assert names == {"notes/note.txt"}
    assert str(tracking.home) in stored.info.artifact_uri
    assert run.url("http://127.0.0.1:5000/").endswith(f"/{run.experiment_id}/runs/{run.run_id}")


def test_a_table_that_another_process_logs_first_is_the_same_dataset(tracking: Tracking) -> None:
    experiment = tracking.experiment_id()
    other = tracking.client.create_run(experiment).info.run_id
    dataset = Dataset(name="train", digest="cd" * 18, source_type="code", source="{}")

    # While the run has looked for the dataset in vain, and is about to write it.
    @sqlalchemy.event.listens_for(SqlDataset, "init", once=True)
    def _(*_: object) -> None:
        tracking.client.log_inputs(other, [DatasetInput(dataset)])

    with tracking.run("base_embedder · seed 1", tags={}) as run:
        run.log_dataset(pd.DataFrame({"listing_id": ["a"]}), "train", "cd" * 32, "training")
    for run_id in (other, run.run_id):
        [used] = tracking.client.get_run(run_id).inputs.dataset_inputs
        assert used.dataset.digest == "cd" * 18


def test_a_body_that_raises_ends_the_run_as_failed(tracking: Tracking) -> None:
    with pytest.raises(ZeroDivisionError), tracking.run("broken", tags={}) as run:
        raise ZeroDivisionError
    assert tracking.client.get_run(run.run_id).info.status == "FAILED"
    assert mlflow.active_run() is None


def test_a_metric_that_mlflow_cannot_hold_is_named(tracking: Tracking) -> None:
    with tracking.run("bad", tags={}) as run:
        for name, value in [("recall@1", 0.5), ("recall", math.inf), ("recall", "0.5"), ("recall", True)]:
            with pytest.raises(TrackingError, match=name):
                run.log_metrics({name: value})


def test_long_parameters_are_cut_with_a_mark() -> None:
    flat = flatten({"a": {"b": "x" * 5000}, "empty": {}, "none": None})
    assert flat["a.b"].endswith("(cut: 5000 characters)") and len(flat["a.b"]) == PARAMETER_CHARACTERS
    assert flat["empty"] == "{}" and flat["none"] == "None"


def test_a_store_that_cannot_be_used_is_named_within_seconds(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("not a database, but long enough to look like one" * 10)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    start = time.monotonic()
    for uri in (f"http://127.0.0.1:{port}", f"sqlite:///{tmp_path}/text.db", f"file://{tmp_path}/store"):
        tracking = Tracking(uri, tmp_path / "home", "small")
        with pytest.raises(TrackingError, match=uri), tracking.run("never", tags={}):
            raise AssertionError("the run must not open")
    with pytest.raises(TrackingError, match=r"postgresql://me:\*\*\*@127") as caught:
        Tracking(f"postgresql://me:secret@127.0.0.1:{port}/x", tmp_path / "home", "small").experiment_id()
    assert "secret" not in str(caught.value)
    assert time.monotonic() - start < 15


def test_a_deleted_experiment_is_named(tracking: Tracking) -> None:
    deleted = Tracking(None, tracking.home, "deleted")
    deleted.client.delete_experiment(deleted.experiment_id())
    with pytest.raises(TrackingError, match="'deleted' was deleted"):
        deleted.experiment_id()
