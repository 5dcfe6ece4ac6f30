"""`afmrl run` with several seeds: side by side, stopped, killed, resumed."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest
import yaml
from safetensors.numpy import load_file
from tiny import PAIR

PROFILE = {**PAIR, "name": "pair", "champion": {"max_regression": 1.0, "limits": {}}}
# A SIGTERM, and a parent that is gone, must end a seed within this time.
PATIENCE = 60


def configured(folder: Path, **changes: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "pair.yaml"
    path.write_text(yaml.safe_dump({**PROFILE, **changes}), encoding="utf-8")
    return path


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "afmrl_dagster",
        "run",
        "--config",
        str(folder / "pair.yaml"),
        *arguments,
    ]
    return subprocess.Popen(
        command,
        env={
            **os.environ,
            "AFMRL_HOME": str(folder / "home"),
            "DAGSTER_HOME": str(folder / "home" / "dagster"),
        },
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def run(folder: Path, *arguments: str) -> tuple[int, str]:
    process = start(folder, *arguments)
    output, _ = process.communicate(timeout=900)
    return process.returncode, output


def lines_until(process: subprocess.Popen[str], wanted: Callable[[str], bool]) -> list[str]:
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if wanted(line):
            return lines
    raise AssertionError("it ended first:\n" + "".join(lines))


@contextlib.contextmanager
def records(folder: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(folder / "home" / "dagster")) as instance:
        yield instance


def process_of(folder: Path, seed: int) -> int:
    with records(folder) as instance:
        tags = {"dagster/partition": f"seed_{seed}"}
        run = instance.get_runs(dg.RunsFilter(tags=tags), limit=1)[0]
    return int(run.tags["afmrl/process"].split(":")[-2])


def is_gone(process: int) -> bool:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.2)
    return False


def weights(folder: Path, *key: str) -> dict[str, np.ndarray]:
    (file,) = (folder / "home" / "pair").joinpath(*key).rglob("model.safetensors")
    return load_file(file)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("undisturbed")
    configured(folder)
    status, output = run(folder)
    assert status == 0, output
    return folder, output


def test_each_line_of_a_seed_begins_with_it_and_assets_with_their_time(undisturbed: tuple[Path, str]) -> None:
    folder, output = undisturbed
    for seed in ("seed_0", "seed_1"):
        assert f"{seed}  ▶ round_1/embedder" in output
        assert any(
            line.startswith(f"{seed}  ✔ round_1/embedder  ") and line.endswith(" s")
            for line in output.splitlines()
        )
        log = (folder / "home" / "pair" / seed / "log.txt").read_text(encoding="utf-8")
        assert "2/2 [" in log
    assert output.index("✔ catalog/splits") < output.index("seed_0")
    assert output.rindex("seed_1") < output.index("▶ release/ablation")
    assert "| afmrl_cit" in output


def test_the_ablation_is_the_mean_over_seeds_and_seeds_differ(undisturbed: tuple[Path, str]) -> None:
    root = undisturbed[0] / "home" / "pair"
    table = pd.read_parquet(root / "release" / "ablation" / "ablation.parquet").set_index("row")
    assert set(table["seeds"]) == {2}
    frames = [
        pd.read_parquet(root / seed / "round_1" / "retrieval_metrics" / "afmrl_cit" / "per_query.parquet")
        for seed in ("seed_0", "seed_1")
    ]
    expected = np.mean([f.loc[f["task"] == "fine_grained", "recall_at_5"].mean() for f in frames])
    assert table.loc["afmrl_cit", "recall_at_5"] == pytest.approx(expected)
    pair = [weights(undisturbed[0], seed, "round_1", "embedder") for seed in ("seed_0", "seed_1")]
    assert any(not np.array_equal(pair[0][name], pair[1][name]) for name in pair[0])


def test_mlflow_tells_the_seeds_apart_and_the_first_is_the_challenger(undisturbed: tuple[Path, str]) -> None:
    from afmrl_models.registry.models import get_alias
    from afmrl_models.registry.tracking import Tracking

    home = undisturbed[0] / "home"
    tracking = Tracking(None, home, "pair")
    runs = tracking.client.search_runs([tracking.experiment_id()])
    rows = [run for run in runs if run.data.tags.get("row") == "afmrl_cit"]
    assert sorted(run.data.tags["seed"] for run in rows) == ["0", "1"]
    challenger = get_alias(tracking, "pair-embedder", "challenger")
    noted = json.loads((home / "pair" / "seed_0" / "round_1" / "embedder" / "registered.json").read_text())
    assert challenger is not None and challenger.version == noted["version"]
    version = tracking.client.get_model_version(challenger.name, str(challenger.version))
    assert version.tags["seed"] == "0"


def test_a_finished_profile_is_kept_and_another_seed_trains_that_one_alone(
    undisturbed: tuple[Path, str],
) -> None:
    folder, _ = undisturbed
    status, output = run(folder, "--resume")
    assert status == 0
    assert "seed_1  round_0/embedder: done, kept" in output
    assert "▶" not in output
    configured(folder, seeds=[0, 1, 2])
    status, output = run(
        folder, "--resume", "--select", 'key:"models/base_generator" or key:"release/ablation"'
    )
    configured(folder)
    assert "seed_0  models/base_generator: done, kept" in output
    assert "seed_2  ✔ models/base_generator" in output
    assert "release/ablation: made with other settings: " in output
    assert status == 1, "the third seed has no evaluations to compare"


def test_a_killed_seed_leaves_the_other_and_a_stopped_run_resumes_to_the_same_result(
    undisturbed: tuple[Path, str], tmp_path: Path
) -> None:
    configured(tmp_path)
    process = start(tmp_path, "--parallel", "2")
    lines = lines_until(process, lambda line: line.startswith("seed_1  ▶ round_0/attribute_generator"))
    os.kill(process_of(tmp_path, 1), signal.SIGKILL)
    lines += lines_until(process, lambda line: line.startswith("seed_1  ✘ FAILED"))
    lines += lines_until(process, lambda line: line.startswith("seed_0  ▶ baseline/embedder"))
    other = process_of(tmp_path, 0)
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, rest
    assert "run again with --resume" in rest
    assert is_gone(other)

    status, output = run(tmp_path, "--resume")
    assert status == 0, output
    assert "seed_0  round_0/attribute_generator: done, kept" in output
    assert "seed_1  models/base_embedder: done, kept" in output
    assert "seed_1  round_0/attribute_generator: not made yet" in output
    with records(tmp_path) as instance:
        assert not instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
    for seed in ("seed_0", "seed_1"):
        for key in (("round_1", "attribute_generator"), ("round_1", "embedder")):
            ours, theirs = weights(tmp_path, seed, *key), weights(undisturbed[0], seed, *key)
            for name in theirs:
                np.testing.assert_array_equal(ours[name], theirs[name])
    tables = [
        pd.read_parquet(folder / "home" / "pair" / "release" / "ablation" / "ablation.parquet")
        for folder in (tmp_path, undisturbed[0])
    ]
    pd.testing.assert_frame_equal(*tables)


def test_a_seed_ends_with_its_parent(undisturbed: tuple[Path, str]) -> None:
    folder, _ = undisturbed
    command = [sys.executable, "-m", "afmrl_dagster.seed_process", str(folder / "pair.yaml"), "0"]
    home = folder / "home"
    child = subprocess.Popen(
        [*command, "00000000-0000-4000-8000-000000000000", "models/base_embedder"],
        env={**os.environ, "AFMRL_HOME": str(home), "DAGSTER_HOME": str(home / "dagster")},
        stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    assert child.stdin is not None
    child.stdin.close()
    assert child.wait(timeout=PATIENCE) != 0
