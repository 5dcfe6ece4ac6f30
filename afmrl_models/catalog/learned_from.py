"""Which listings a training step really saw: a record beside its output, compared with the splits."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa

from afmrl_models.catalog.evaluation_set import EvaluationSet
from afmrl_models.catalog.schema import read_table, write_table
from afmrl_models.catalog.splits import TRAIN
from afmrl_models.errors import UserError

FILE = "learned_from.parquet"
SCHEMA = pa.schema(
    [pa.field("listing_id", pa.string(), nullable=False), pa.field("what", pa.string(), nullable=False)]
)


class LearnedFrom:
    """The listings that one asset learns from, noted where they are read."""

    def __init__(self) -> None:
        self._seen: dict[str, set[str]] = {}

    def note(self, what: str, *listing_ids: str) -> None:
        """Add listings to what `what` (a step, such as "tokenizer") has seen; none: it is about to look."""
        self._seen.setdefault(what, set()).update(listing_ids)

    def state(self) -> dict[str, list[str]]:
        """What was noted, as JSON."""
        return {what: sorted(ids) for what, ids in self._seen.items()}

    def restore(self, state: Mapping[str, Sequence[str]]) -> None:
        """Note what another one's `state` holds."""
        for what, ids in state.items():
            self.note(what, *ids)

    def save(self, directory: Path) -> None:
        """Write the record into `directory`, beside what other steps have noted there.

        Raises ValueError for a step that saw no listing: nothing could be said of it.
        """
        empty = [what for what, ids in self._seen.items() if not ids]
        if empty:
            raise ValueError(f"{directory}: no listing was noted for {', '.join(empty)}")
        rows = [(listing_id, what) for what, ids in self._seen.items() for listing_id in ids]
        path = directory / FILE
        if path.exists():
            rows += read_table(path).itertuples(index=False, name=None)
        record = pd.DataFrame(sorted(set(rows)), columns=SCHEMA.names)
        write_table(record.sort_values(["what", "listing_id"]), SCHEMA, path)


def read_record(directory: Path) -> pd.DataFrame:
    """listing_id, what; empty for a pretrained model as it came. Raises UserError where none was left."""
    path = directory / FILE
    if not path.exists():
        raise UserError(f"{path} is missing, which tells what was learned from: materialize the asset again")
    return read_table(path)


def leaks(
    record: pd.DataFrame,
    listings: pd.DataFrame,
    splits: pd.DataFrame,
    frozen: EvaluationSet | None = None,
) -> pd.DataFrame:
    """The rows of a record that no training step may see: what, listing_id, product_id, split.

    A listing leaks when it, or any listing of its product, is outside the training split: `split` names the
    other one, or is "unknown" for a listing that the splits do not hold, or "frozen evaluation" where only
    the frozen evaluation set has the product. A listing without a product id is a
    product of its own, and its product_id here its listing id.
    """
    products = listings.set_index("listing_id")["product_id"]
    split_of = splits.assign(product=_product(splits["listing_id"], products))
    outside = split_of[split_of["split"] != TRAIN].drop_duplicates("product")
    outside_of = outside.set_index("product")["split"]
    product = _product(record["listing_id"], products)
    split = product.map(outside_of)
    split = split.where(record["listing_id"].isin(set(splits["listing_id"])), "unknown")
    if frozen is not None:
        held = frozen.holds(listings) | set(frozen.listings["listing_id"])
        split = split.mask(split.isna() & record["listing_id"].isin(held), "frozen evaluation")
    leaked = record[["what", "listing_id"]].assign(product_id=product, split=split)
    return leaked[split.notna()].reset_index(drop=True)


def summary(record: pd.DataFrame, leaked: pd.DataFrame, listings: pd.DataFrame) -> pd.DataFrame:
    """One row a step: what, listings, products, leaked (products of it that leaked)."""
    products = listings.set_index("listing_id")["product_id"]
    counted = record.assign(product=_product(record["listing_id"], products)).groupby("what")
    table = counted.agg(listings=("listing_id", "nunique"), products=("product", "nunique")).reset_index()
    lost = leaked.groupby("what")["product_id"].nunique()
    return table.assign(leaked=table["what"].map(lost).fillna(0).astype(int))


def _product(listing_ids: pd.Series, products: pd.Series) -> pd.Series:
    found = listing_ids.map(products)
    return found.where(found.notna(), listing_ids)
