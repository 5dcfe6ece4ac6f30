"""How entries are judged that compare a table with the last accepted one."""

from collections.abc import Mapping

import great_expectations.expectations as gxe
import numpy as np
import pandas as pd

from afmrl_models.attributes.judgement.custom import ExpectColumnJensenShannonDistanceToBeAtMost
from afmrl_models.attributes.judgement.material import Material, names, values
from afmrl_models.attributes.judgement.plans import Plan, plan, rows_of, values_of
from afmrl_models.config import expectations as entries

FIRST = "no table has been accepted yet: there is nothing to compare with"
_BINS = 10


@plan.register
def _(entry: entries.NewValues, material: Material) -> Plan:
    rows, frame = values_of(entry, material)
    if (last := _last(entry, material)) is None:
        return Plan(frame, rows["listing_id"], note=FIRST)
    before = values(last["attributes"], names(frame))
    return Plan(
        frame,
        rows["listing_id"],
        [
            gxe.ExpectColumnValuesToBeInSet(
                column=key, value_set=sorted(set(before[key].dropna())), mostly=_rest(entry.max_share)
            )
            for key in names(frame)
        ],
        {f"new_values_of_{key}": len(set(frame[key].dropna()) - set(before[key])) for key in names(frame)},
    )


@plan.register
def _(entry: entries.LostValues, material: Material) -> Plan:
    rows, frame = values_of(entry, material)
    if (last := _last(entry, material)) is None:
        return Plan(frame, rows["listing_id"], note=FIRST)
    before = values(last["attributes"], names(frame))
    return Plan(
        before,
        last["listing_id"],
        [
            gxe.ExpectColumnValuesToBeInSet(
                column=key, value_set=sorted(set(frame[key].dropna())), mostly=_rest(entry.max_share)
            )
            for key in names(frame)
        ],
        {f"lost_values_of_{key}": len(set(before[key].dropna()) - set(frame[key])) for key in names(frame)},
    )


@plan.register
def _(entry: entries.Drift, material: Material) -> Plan:
    rows, last = rows_of(entry, material), _last(entry, material)
    if last is None:
        return Plan(rows[["listing_id"]], rows["listing_id"], note=FIRST)
    if entry.of == "text_length":
        frame, before = _lengths(rows, last)
    else:
        keys = material.chosen(entry.keys)
        frame, before = values(rows["attributes"], keys), values(last["attributes"], keys)
        if entry.of == "keys":
            frame, before = (f.notna().replace({True: "written", False: "missing"}) for f in (frame, before))
    told = [column for column in names(before) if before[column].notna().any()]
    counts = {column: {str(v): float(n) for v, n in before[column].value_counts().items()} for column in told}
    return Plan(
        frame[told],
        rows["listing_id"],
        [
            ExpectColumnJensenShannonDistanceToBeAtMost(
                column=column, counts=counts[column], max_value=entry.max_distance
            )
            for column in told
        ],
        {"compared_with_rows": len(last)},
        {column: _more_than_before(frame[column], counts[column]) for column in told},
    )


def _last(entry: entries.OfCategories, material: Material) -> pd.DataFrame | None:
    if material.last is None:
        return None
    last = material.rows(material.last, entry.categories)
    return None if last.empty else last


def _rest(share: float) -> float:
    return round(1 - share, 6)


def _lengths(rows: pd.DataFrame, last: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Lengths of the texts of both tables, in the bins that hold a tenth of the last one's each."""
    before = last["attributes_text"].fillna("").str.len().to_numpy()
    edges = np.unique(np.quantile(before, np.linspace(0, 1, _BINS + 1)[1:-1]).round()).astype(int)
    names = [f"under {edges[0]}", *(f"from {edge}" for edge in edges)]

    def binned(lengths: np.ndarray) -> pd.DataFrame:
        found = np.searchsorted(edges, lengths, side="right")
        return pd.DataFrame({"characters": [names[i] for i in found]})

    return binned(rows["attributes_text"].fillna("").str.len().to_numpy()), binned(before)


def _more_than_before(column: pd.Series, before: Mapping[str, float]) -> list[int]:
    """Rows with the value whose share has grown most."""
    shares = column.value_counts(normalize=True)
    if shares.empty:
        return []
    total = sum(before.values())
    grown = shares - pd.Series({value: before.get(str(value), 0) / total for value in shares.index})
    return [int(row) for row in column.index[column == grown.idxmax()]]
