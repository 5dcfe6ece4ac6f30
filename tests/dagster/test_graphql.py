"""A served code location answers over GraphQL, as the UI asks it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from afmrl_dagster.project import shipped_profile
from afmrl_models.config import load_profile

LAUNCHPAD = """{ runConfigSchemaOrError(mode: "default", selector: {
  pipelineName: "everything", repositoryName: "__repository__", repositoryLocationName: "afmrl"
}) { __typename ... on RunConfigSchema { rootDefaultYaml } } }"""
QUERY = """{ repositoriesOrError { ... on RepositoryConnection { nodes {
  name location { name } jobs { name } schedules { name scheduleState { status } }
  assetNodes { groupName assetKey { path }
    assetChecksOrError { ... on AssetChecks { checks { name canExecuteIndividually } } } } } } } }"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    workspace = Path(__file__).resolve().parents[2] / "workspace.yaml"
    log = (tmp_path / "webserver.log").open("w")
    process = subprocess.Popen(
        [sys.executable, "-m", "dagster_webserver", "-w", str(workspace), "-h", "127.0.0.1", "-p", str(port)],
        env={**os.environ, "DAGSTER_HOME": str(tmp_path), "AFMRL_HOME": str(tmp_path)},
        cwd=workspace.parent, stdout=log, stderr=log, start_new_session=True,
    )  # fmt: skip
    yield f"http://127.0.0.1:{port}/graphql"
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(timeout=30)


def ask(url: str, query: str, patience: float = 90) -> dict:
    request = urllib.request.Request(
        url, data=json.dumps({"query": query}).encode(), headers={"Content-Type": "application/json"}
    )
    deadline = time.monotonic() + patience
    while True:
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)["data"]
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def test_a_served_code_location_shows_the_graph_and_fills_in_the_launchpad(server: str) -> None:
    (repository,) = ask(server, QUERY)["repositoriesOrError"]["nodes"]
    assert repository["location"]["name"] == "afmrl"
    assert {"everything", "round_0", "round_1"} <= {job["name"] for job in repository["jobs"]}
    assert [(s["name"], s["scheduleState"]["status"]) for s in repository["schedules"]] == [
        ("nightly", "STOPPED")
    ]
    groups = {node["groupName"] for node in repository["assetNodes"]}
    assert groups == {"catalog", "models", "attributes", "baseline", "round_0", "round_1", "release"}
    assert ["release", "ablation"] in [node["assetKey"]["path"] for node in repository["assetNodes"]]
    scaffolded = yaml.safe_load(ask(server, LAUNCHPAD)["runConfigSchemaOrError"]["rootDefaultYaml"])["ops"]
    demo = load_profile(shipped_profile("demo"))
    assert scaffolded["catalog__raw_catalog"]["config"]["catalog"] == {"limit": 0}
    given = scaffolded["round_0__embedder"]["config"]["training"]
    assert (given["steps"], given["bm25_scale"]) == (demo.training.steps, demo.training.bm25_scale)
    champion = scaffolded["release__champion"]["config"]["champion"]
    assert champion["max_regression"] == demo.champion.max_regression
    alone = {
        check["name"]
        for node in repository["assetNodes"]
        for check in node["assetChecksOrError"]["checks"]
        if check["canExecuteIndividually"] == "CAN_EXECUTE"
    }
    assert {"rows_accounted", "queries_answerable", "learned_from_training_alone", "validity_rate"} <= alone
