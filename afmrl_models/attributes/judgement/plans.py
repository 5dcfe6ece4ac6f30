"""From a steward's entry to the frame that Great Expectations judges, and what it expects of it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import singledispatch
from typing import Any, Final

import great_expectations.expectations as gxe
import pandas as pd
from great_expectations.expectations.expectation import Expectation

from afmrl_models.attributes.grammar import normalise_value
from afmrl_models.attributes.judgement.custom import (
    ExpectColumnMostCommonShareToBeAtMost,
    ExpectColumnValuesToBeAttributeTexts,
    ExpectColumnValuesToBeMeasures,
    is_attribute_text,
)
from afmrl_models.attributes.judgement.material import Material, judged_texts, names, pairs, texts, values
from afmrl_models.config import expectations as entries

EITHER_MISSING: Final = "either_value_is_missing"


class CannotJudge(Exception):
    """There is nothing in the table that the entry could judge; the message says what is missing."""


@dataclass(frozen=True)
class Plan:
    """A frame, whose listing each row is of (None: rows are no listings), and what is expected of it.

    suspects: rows to show for an expectation that names no rows of its own, by column. note: in place of a
    judgement, where there is nothing to compare with.
    """

    frame: pd.DataFrame
    listing_ids: pd.Series | None
    expectations: Sequence[Expectation] = ()
    asked: Mapping[str, int | float | str] = field(default_factory=dict)
    suspects: dict[str, list[int]] = field(default_factory=dict)
    note: str | None = None


@singledispatch
def plan(entry: entries.Entry, material: Material) -> Plan:
    """How an entry is judged. Raises CannotJudge."""
    raise NotImplementedError(type(entry).__name__)


def rows_of(entry: entries.OfCategories, material: Material) -> pd.DataFrame:
    """The rows the entry is about. Raises CannotJudge if there are none."""
    rows = material.rows(material.table, entry.categories)
    if rows.empty:
        of = f" of {', '.join(entry.categories)}" if entry.categories else ""
        raise CannotJudge(f"the table has no rows{of}")
    return rows


def values_of(entry: entries.OfKeys, material: Material) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows the entry is about, and their values, a column a key. Raises CannotJudge if all are empty."""
    rows = rows_of(entry, material)
    keys = material.chosen(entry.keys)
    frame = values(rows["attributes"], keys)
    if frame.isna().to_numpy().all():
        raise CannotJudge(f"no row has a value of {', '.join(keys)}")
    return rows, frame


@plan.register
def _(entry: entries.RowCount, material: Material) -> Plan:
    rows = material.rows(material.table, entry.categories)
    expectation = gxe.ExpectTableRowCountToBeBetween(min_value=entry.min, max_value=entry.max)
    return Plan(
        rows[["listing_id"]],
        rows["listing_id"],
        [expectation],
        {"at_least": entry.min} | ({} if entry.max is None else {"at_most": entry.max}),
    )


@plan.register
def _(entry: entries.TextsParse, material: Material) -> Plan:
    rows = rows_of(entry, material)
    frame = pd.DataFrame({"text": judged_texts(rows)})
    return Plan(
        frame, rows["listing_id"], [ExpectColumnValuesToBeAttributeTexts(column="text", mostly=entry.mostly)]
    )


@plan.register
def _(entry: entries.TextsParseInCategories, material: Material) -> Plan:
    rows = rows_of(entry, material)
    parsed = pd.DataFrame(
        {"category": rows["category"], "parsed": judged_texts(rows).map(is_attribute_text).astype(float)}
    )
    shares = parsed.groupby("category")["parsed"].agg(texts="size", share="mean").reset_index()
    frame = shares[shares["texts"] >= entry.min_texts].reset_index(drop=True)
    asked: dict[str, int | float | str] = {"categories": len(frame), "too_small": len(shares) - len(frame)}
    if frame.empty:
        return Plan(frame, None, asked=asked, note=f"no category has {entry.min_texts} texts")
    expectation = gxe.ExpectColumnValuesToBeBetween(column="share", min_value=entry.mostly)
    return Plan(frame, None, [expectation], asked | {"required_in_each": entry.mostly})


@plan.register
def _(entry: entries.OneRowAListing, material: Material) -> Plan:
    if material.table.empty:
        raise CannotJudge("the table has no rows")
    ids = material.table["listing_id"].reset_index(drop=True)
    frame = pd.DataFrame(
        {"listing_id": ids, "in_the_catalog": ids.isin(set(material.listings["listing_id"]))}
    )
    return Plan(
        frame,
        ids,
        [
            gxe.ExpectColumnValuesToBeUnique(column="listing_id"),
            # A null id is in no catalog, so it is found here.
            gxe.ExpectColumnValuesToBeInSet(column="in_the_catalog", value_set=[True]),
        ],
    )


def _pairs_of(entry: entries.OfCategories, material: Material) -> pd.DataFrame:
    found = pairs(rows_of(entry, material))
    if found.empty:
        raise CannotJudge("no row of the table has attributes")
    return found


@plan.register
def _(entry: entries.AllowedKeys, material: Material) -> Plan:
    found, allowed = _pairs_of(entry, material), sorted(material.chosen(entry.keys))
    expectation = gxe.ExpectColumnValuesToBeInSet(column="key", value_set=allowed, mostly=entry.mostly)
    return Plan(found, found["listing_id"], [expectation], {"allowed": ", ".join(allowed)})


@plan.register
def _(entry: entries.ValueLength, material: Material) -> Plan:
    found = _pairs_of(entry, material)
    expectation = gxe.ExpectColumnValueLengthsToBeBetween(
        column="value", min_value=1, max_value=entry.max, mostly=entry.mostly
    )
    return Plan(found, found["listing_id"], [expectation], {"allowed_characters": entry.max})


@plan.register
def _(entry: entries.RequiredKeys, material: Material) -> Plan:
    rows = rows_of(entry, material)
    frame = values(rows["attributes"], material.chosen(entry.keys))
    return Plan(
        frame,
        rows["listing_id"],
        [gxe.ExpectColumnValuesToNotBeNull(column=key, mostly=entry.mostly) for key in names(frame)],
    )


@plan.register
def _(entry: entries.Vocabulary, material: Material) -> Plan:
    rows, frame = values_of(entry, material)
    if entry.values == "teacher":
        taught = values(
            material.rows(material.teacher, entry.categories)["attributes"], material.chosen(entry.keys)
        )
        allowed = {
            key: sorted(v for v, n in Counter(taught[key].dropna()).items() if n >= entry.min_listings)
            for key in names(frame)
        }
        if not any(allowed.values()):
            raise CannotJudge(f"the teacher uses no value of {', '.join(names(frame))}")
    else:
        allowed = {key: sorted(normalise_value(v).casefold() for v in entry.values) for key in names(frame)}
    expectations = [
        gxe.ExpectColumnValuesToBeInSet(column=key, value_set=allowed[key], mostly=entry.mostly)
        for key in names(frame)
    ]
    asked: dict[str, int | float | str] = {
        f"allowed_values_of_{key}": len(allowed[key]) for key in names(frame)
    }
    return Plan(frame, rows["listing_id"], expectations, asked)


@plan.register
def _(entry: entries.Measure, material: Material) -> Plan:
    rows = rows_of(entry, material)
    (key,) = material.chosen([entry.key])
    frame = values(rows["attributes"], [key])
    if frame[key].isna().all():
        raise CannotJudge(f"no row has a value of {key}")
    expectation = ExpectColumnValuesToBeMeasures(
        column=key, units=entry.units, min_value=entry.min, max_value=entry.max, mostly=entry.mostly
    )
    asked: dict[str, int | float | str] = {"units": ", ".join(entry.units)}
    asked |= {name: v for name, v in (("at_least", entry.min), ("at_most", entry.max)) if v is not None}
    return Plan(frame, rows["listing_id"], [expectation], asked)


@plan.register
def _(entry: entries.Variety, material: Material) -> Plan:
    rows, frame = values_of(entry, material)
    said = [key for key in names(frame) if frame[key].notna().any()]
    return Plan(
        frame,
        rows["listing_id"],
        [ExpectColumnMostCommonShareToBeAtMost(column=key, max_value=entry.max_share) for key in said],
        {f"commonest_{key}": str(frame[key].mode().iloc[0]) for key in said},
        {key: frame.index[frame[key] == frame[key].mode().iloc[0]].tolist() for key in said},
    )


@plan.register
def _(entry: entries.AgreesWithShop, material: Material) -> Plan:
    rows, frame = values_of(entry, material)
    stated = values(material.of_listing("attributes", rows["listing_id"]), names(frame))
    if entry.split != "all":
        chosen = rows["listing_id"].isin(material.train) == (entry.split == "train")
        rows, frame, stated = (f[chosen].reset_index(drop=True) for f in (rows, frame, stated))
    return _compared(rows["listing_id"], frame, stated, "the shop", entry.mostly)


@plan.register
def _(entry: entries.AgreesWithinProduct, material: Material) -> Plan:
    rows, frame = values_of(entry, material)
    product = material.of_listing("product_id", rows["listing_id"])
    following = pd.DataFrame({key: frame[key].dropna().groupby(product).shift(-1) for key in names(frame)})
    return _compared(
        rows["listing_id"], frame, following.reindex(frame.index), "the next offer", entry.mostly
    )


def _compared(
    listing_ids: pd.Series, frame: pd.DataFrame, other: pd.DataFrame, whose: str, mostly: float
) -> Plan:
    both = [key for key in names(frame) if (frame[key].notna() & other[key].notna()).any()]
    if not both:
        raise CannotJudge(f"of no listing is there both a value and one of {whose}")
    beside = {key: f"{key} ({whose})" for key in both}
    together = frame[both].join(other[both].rename(columns=beside))
    expectations: list[Any] = [
        gxe.ExpectColumnPairValuesToBeEqual(
            column_A=key, column_B=name, mostly=mostly, ignore_row_if=EITHER_MISSING
        )
        for key, name in beside.items()
    ]
    return Plan(together.astype(object).where(together.notna(), None), listing_ids, expectations)


@plan.register
def _(entry: entries.GxExpectation, material: Material) -> Plan:
    from great_expectations.expectations.registry import get_expectation_impl

    rows = rows_of(entry, material)
    if entry.table == "pairs":
        frame = _pairs_of(entry, material)
        listing_ids = frame["listing_id"]
    else:
        frame = (
            texts(rows, material)
            if entry.table == "texts"
            else values(rows["attributes"], material.chosen(None))
        )
        listing_ids = rows["listing_id"]
    return Plan(frame, listing_ids, [get_expectation_impl(entry.expect)(**entry.parameters)])
