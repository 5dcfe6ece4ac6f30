"""Mornings: what is in force, looked at from outside the pipeline, and whether that is right."""

import hashlib
import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException

from afmrl_models.catalog.images import ImageStore
from afmrl_models.embedding.embedder import encode_listings, load_embedder
from afmrl_models.retrieval.index import load_index
from benchmarks.fortnight.house import House
from benchmarks.fortnight.nights import EVERYTHING, INDEX, LISTINGS, Night
from benchmarks.fortnight.profile import NAME

_SAMPLE, _ROUNDING = 8, 1e-4
_MODEL = f"{NAME}-embedder"


class WrongMorning(AssertionError):
    """What a person would not want to find."""


def demand(holds: object, what: str) -> None:
    """Raise WrongMorning where it does not hold."""
    if not holds:
        raise WrongMorning(what)


@dataclass
class Book:
    """What must be in force, as told by the nights so far: kept beside the pipeline, not read from it.

    trained: the vectors of a few listings by the champion, made when it was promoted, from the folder it was
    trained in. indexed: content hash of each listing when the index was made.
    """

    house: House
    champion: str | None = None
    trained: np.ndarray | None = None
    sample: pd.DataFrame = field(default_factory=pd.DataFrame)
    photos: dict[str, Any] = field(default_factory=dict)
    indexed: dict[str, str] = field(default_factory=dict)

    def evening(self) -> dict[str, str]:
        """Digests of what is in force before the night."""
        return {asset: digest(self.house.home / NAME / asset) for asset in EVERYTHING}

    def judge(self, night: Night, run_id: str, evening: dict[str, str]) -> dict[str, Any]:
        """Hold the morning against what the night should have left; what was decided."""
        self._tables(night, evening)
        decision = self._decision(night, run_id)
        self._champion(night, decision)
        self._index(night)
        if decision:
            left = self.house.runs_under_way()
            demand(not left, f"MLflow shows as under way what is not: {left}")
        return decision

    def read_alerts(self, night: Night, run_id: str, last: str, decision: dict[str, Any]) -> list[str]:
        """The lines of alerts.log about the night, and about the run that mended it."""
        kept = ["does not promote"] if decision.get("outcome") == "kept" else []
        tells = night.tells if last != run_id else (*night.tells, *kept)
        lines = self.house.told(run_id, *tells)
        for words in tells:
            demand(words in " ".join(lines), f"alerts.log does not say {words!r}: {lines}")
        if last != run_id:
            own = self.house.told(last, *kept)
            demand(all(words in " ".join(own) for words in kept), f"nothing told of run {last}: {own}")
            lines += own
        for line in lines:
            demand("Traceback" not in line and len(line) < 1200, f"no line for people: {line}")
        return lines

    def _tables(self, night: Night, evening: dict[str, str]) -> None:
        for asset, found in self.evening().items():
            if asset in night.stays:
                demand(found == evening[asset], f"{asset} is not yesterday's")
        if LISTINGS not in night.stays:
            tables = self.house.home / NAME / LISTINGS
            kept, refused = (
                len(pd.read_parquet(tables / f"{name}.parquet")) for name in ("listings", "quarantine")
            )
            rows = self.house.shop.count_rows()
            demand(rows == kept + refused, f"{rows} rows read, {kept} kept, {refused} quarantined")

    def _decision(self, night: Night, run_id: str) -> dict[str, Any]:
        history = self.house.home / NAME / "release" / "champion_history.jsonl"
        lines = history.read_text(encoding="utf-8").splitlines() if history.exists() else []
        own = [event for event in map(json.loads, lines) if event["dagster_run"] == run_id]
        demand(len(own) == bool(night.decides), f"{len(own)} decisions of run {run_id}")
        if not own:
            return {}
        (decision,) = own
        demand(decision["outcome"] in night.decides, f"{decision['outcome']}: {decision['reason']}")
        # The rules once more, from their numbers.
        for r in decision["rules"]:
            found = r["low"] if r["by_interval"] else r["difference"]
            demand(r["passed"] == (found >= r["limit"]), f"a verdict contradicts its numbers: {r}")
        promoted = decision["outcome"] == "promoted"
        if decision["rules"]:
            demand(promoted == all(r["passed"] for r in decision["rules"]), "promoted against its rules")
        return decision

    def _champion(self, night: Night, decision: dict[str, Any]) -> None:
        """The alias is where the decisions led, and the version's vectors are those of its training."""
        client = mlflow.MlflowClient(self.house.mlflow_url, registry_uri=self.house.mlflow_url)
        try:
            found = client.get_model_version_by_alias(_MODEL, "champion").version
        except MlflowException:
            found = None
        if decision.get("outcome") == "promoted" or (decision and self.champion is None):
            name = decision["challenger" if decision["outcome"] == "promoted" else "champion_after"]
            self.champion = name.partition(" ")[0].rpartition("/")[2]
            group = "round_1" if decision["outcome"] == "promoted" else "baseline"
            self._remember(self.house.home / NAME / group / "embedder")
        demand(str(found) == str(self.champion), f"champion is version {found}, should be {self.champion}")
        mlflow.set_tracking_uri(self.house.mlflow_url)
        with tempfile.TemporaryDirectory() as folder:
            fetched = mlflow.artifacts.download_artifacts(f"models:/{_MODEL}@champion", dst_path=folder)
            distance = np.abs(self._embed(Path(fetched) / "artifacts" / "model") - self.trained).max()
        demand(distance < _ROUNDING, f"the champion's vectors are {distance:.1e} off those of its training")

    def _remember(self, model: Path) -> None:
        listings = self.house.home / NAME / LISTINGS
        self.sample = pd.read_parquet(listings / "listings.parquet").head(_SAMPLE)
        store = ImageStore.open(listings / "images")
        self.photos = {i: store.get(i).copy() for i in self.sample["listing_id"]}
        self.trained = self._embed(model)

    def _embed(self, model: Path) -> np.ndarray:
        return encode_listings(
            load_embedder(model, "cpu"), self.sample, _Photos(self.photos), "multimodal", None, _SAMPLE
        )

    def _index(self, night: Night) -> None:
        """The index is of the champion, and of the listings that were there when it was made."""
        listings = pd.read_parquet(self.house.home / NAME / LISTINGS / "listings.parquet")
        index = load_index(self.house.home / NAME / INDEX)
        demand(
            index.origin.embedder == f"models:/{_MODEL}/{self.champion}", f"index of {index.origin.embedder}"
        )
        if INDEX not in night.stays:
            self.indexed = dict(zip(listings["listing_id"], listings["content_hash"], strict=True))
        demand(set(index.ids) == set(self.indexed), "the index holds other listings than when it was made")
        groups = pd.read_parquet(self.house.home / NAME / EVERYTHING[-1] / "identical_products.parquet")
        demand(set(groups["listing_id"]) <= set(index.ids), "groups of listings that are not in the index")
        same = [i for i in self.sample["listing_id"] if self.indexed.get(i) == self._hash(i)]
        rows = [index.row_of[i] for i in same]
        if rows and self.trained is not None:
            own = self.trained[[list(self.sample["listing_id"]).index(i) for i in same]]
            distance = np.abs(np.asarray(index.vectors)[rows] - own).max()
            demand(distance < _ROUNDING, f"the index's vectors are {distance:.1e} off the champion's")

    def _hash(self, listing_id: str) -> str:
        return str(self.sample.set_index("listing_id").loc[listing_id, "content_hash"])


@dataclass(frozen=True)
class _Photos:
    """As much of an ImageStore as `encode_listings` asks for."""

    photos: dict[str, Any]

    def get(self, listing_id: str) -> Any:
        return self.photos[listing_id]


def digest(folder: Path) -> str:
    """sha256 of the tables and indexes in a folder; of none where it is not there."""
    found = hashlib.sha256()
    for path in sorted(folder.glob("*")):
        if path.suffix in (".parquet", ".faiss") or path.name == "listing_ids.txt":
            found.update(path.name.encode() + path.read_bytes())
    return found.hexdigest()
