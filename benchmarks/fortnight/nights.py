"""What happens in each night, and what a person wants to find in the morning."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg

from benchmarks.fortnight.house import House
from benchmarks.fortnight.shop import Shop

LISTINGS, INDEX, GROUPS = "catalog/listings", "release/product_index", "release/identical_products"
TEXTS = ("round_0/product_attributes", "round_1/product_attributes")
EVERYTHING = (LISTINGS, *TEXTS, INDEX, GROUPS)
RELEASED = (INDEX, GROUPS)
# From the fifth night on the team trains longer.
LONGER = {"training": {"warmup_steps": 25, "steps": 40}}


@dataclass(frozen=True)
class Night:
    """number: in the calendar. happens: in words, for the table.

    trades: whether the catalog changes. export: how it is exported. settings: of the profile, that night.
    meanwhile: what happens while the run is under way. mended: what a person does in the morning, which
    leads to another run. status: how the night's run ends. decides: outcomes of the champion's decision that
    are right; empty: none is made. stays: what is the same in the morning as the evening before. tells: words
    of alerts.log.
    """

    number: int
    happens: str
    trades: bool = True
    export: Callable[[Shop], None] = Shop.export
    settings: Mapping[str, Any] = field(default_factory=dict)
    meanwhile: Callable[[House, str], None] | None = None
    mended: Callable[[House], str] | None = None
    status: str = "SUCCESS"
    decides: tuple[str, ...] = ("promoted", "kept")
    stays: tuple[str, ...] = ()
    tells: tuple[str, ...] = ()


def _mlflow_goes_down(house: House, run_id: str) -> None:
    house.wait_for_training(run_id, "round_0/embedder")
    house.stop_mlflow()


def _killed(house: House, run_id: str) -> None:
    house.wait_for_training(run_id, "round_0/embedder")
    house.kill(run_id)


def _power_cut(house: House, run_id: str) -> None:
    house.wait_for_training(run_id, "round_1/embedder")
    house.cut_power()
    house.start_ui()


def _damaged(house: House, run_id: str) -> None:
    """A disk that lies: one byte in the weights of the version that was registered last."""
    house.wait_for_step(run_id, "round_1__retrieval_metrics", dg.DagsterEventType.STEP_SUCCESS)
    weights = house.registry.rglob("model/model.safetensors")
    newest = max(weights, key=lambda path: path.stat().st_mtime)
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 0xFF
    newest.write_bytes(content)


def _resumed(house: House) -> str:
    return house.resume()


def _broken(number: int, happens: str, export: Callable[[Shop], None], *tells: str) -> Night:
    return Night(
        number, happens, export=export, status="FAILURE", decides=(), stays=EVERYTHING,
        tells=("failed: catalog/listings.", *tells),
    )  # fmt: skip


NIGHTS = (
    Night(1, "the first night"),
    Night(2, "an ordinary night"),
    _broken(3, "the export is cut off in the middle", Shop.cut_off, "are not in it any more", "whole?"),
    _broken(4, "half of the photos are not copied yet", Shop.without_photos, "rows were quarantined"),
    Night(
        5, "the export is whole; from now on the team trains longer", settings=LONGER,
        decides=("promoted",),
    ),
    Night(
        6, "columns of the attributes are shifted: rubbish is learned and written",
        export=Shop.shifted_attributes, settings=LONGER, status="FAILURE", decides=(),
        stays=(*TEXTS, *RELEASED),
        tells=("failed: round_0/product_attributes:", "no_flood_of_new_values", "In force stays"),
    ),
    Night(7, "the columns are right again", settings=LONGER),
    Night(
        8, "someone sets a learning rate 40 times too high",
        settings={"training": {**LONGER["training"], "learning_rate": 0.06}},
        decides=("kept",), tells=("does not promote", "fine_grained/recall_at_1 may be worse"),
    ),
    Night(
        9, "the rate is right again; MLflow goes down in the middle of the night", settings=LONGER,
        meanwhile=_mlflow_goes_down, status="FAILURE", decides=(), stays=RELEASED,
        tells=("failed:", "round_0/embedder", "tracking store cannot be used"),
    ),
    Night(10, "MLflow is back", settings=LONGER),
    Night(
        11, "the run is killed while it trains (SIGKILL), resumed in the morning", settings=LONGER,
        meanwhile=_killed, mended=_resumed, status="FAILURE", tells=("SIGKILL", "--resume"),
    ),
    Night(
        12, "a disk damages the version that the night has registered", settings=LONGER, meanwhile=_damaged,
        decides=("refused",),
        tells=("release/champion: versions_are_sound", "its files are not those that were registered"),
    ),
    Night(
        13, "the power fails; the machine comes back, the run is resumed", settings=LONGER,
        meanwhile=_power_cut, mended=_resumed, status="CANCELED", tells=("was killed", "--resume"),
    ),
    Night(14, "nothing has changed in the shop", trades=False, settings=LONGER),
)  # fmt: skip


def folder(house: House, asset: str) -> Path:
    """Where an asset's output lies."""
    return house.home / "fortnight" / asset
