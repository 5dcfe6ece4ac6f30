"""What is demanded of a table of product attributes, judged by Great Expectations."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from afmrl_models.attributes.grammar import AttributeTextError, normalise_key, parse
from afmrl_models.config import ExpectationsConfig

if TYPE_CHECKING:
    from great_expectations.datasource.fluent.interfaces import Batch
    from great_expectations.expectations.expectation import Expectation

EXAMPLES = 20
FEW_TEXTS = 20  # of one category: too few for its coverage to stop a run
NO_CATEGORY = "(no category)"
Severity = Literal["critical", "warning"]


@dataclass(frozen=True)
class Verdict:
    """One expectation, met or not. `observed`: what was found and asked; `unexpected`: at most 20 rows."""

    name: str
    passed: bool
    severity: Severity
    observed: dict[str, int | float | str]
    unexpected: pd.DataFrame = field(default_factory=pd.DataFrame)


def judge_attributes(
    frame: pd.DataFrame, listings: pd.DataFrame, config: ExpectationsConfig, keys: Sequence[str]
) -> list[Verdict]:
    """Judge a PRODUCT_ATTRIBUTES table; `keys` are those allowed where the configuration names none.

    Six verdicts, always in this order: row_count, validity_rate, allowed_keys, value_length,
    category_coverage, unique_listings. Nothing passes for want of rows, and a table without a
    needed column fails in words. All are critical, but for a low coverage that is found only in categories
    of fewer than 20 texts: a warning.
    """
    batches = _Batches()
    judges: list[tuple[str, Sequence[str], Callable[[], Verdict]]] = [
        ("row_count", (), lambda: _row_count(batches, frame, config)),
        ("validity_rate", ("attributes_text", "valid"), lambda: _validity(batches, frame, config)),
        ("allowed_keys", ("attributes",), lambda: _allowed_keys(batches, frame, config, keys)),
        ("value_length", ("attributes",), lambda: _value_length(batches, frame, config)),
        (
            "category_coverage",
            ("attributes_text", "valid"),
            lambda: _coverage(batches, frame, listings, config),
        ),
        ("unique_listings", (), lambda: _unique(batches, frame, listings)),
    ]
    verdicts = []
    for name, needed, judge in judges:
        missing = [column for column in ("listing_id", *needed) if column not in frame]
        if name == "row_count":
            missing = []
        if missing:
            message = f"the table has no column {', '.join(map(repr, missing))}"
            verdicts.append(Verdict(name, False, "critical", {"message": message}))
        elif len(frame) == 0 and name != "row_count":
            verdicts.append(Verdict(name, False, "critical", {"message": "the table has no rows"}))
        else:
            verdicts.append(judge())
    return verdicts


class _Batches:
    """Frames as Great Expectations' batches, in a context that is forgotten afterwards."""

    def __init__(self) -> None:
        # Read when the library is imported: it would report usage to its makers.
        os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
        import great_expectations as gx
        from great_expectations.data_context.types.base import ProgressBarsConfig

        logging.getLogger("great_expectations").setLevel(logging.WARNING)
        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = ProgressBarsConfig(globally=False)
        self._source = context.data_sources.add_pandas("attributes")
        self._count = 0

    def of(self, frame: pd.DataFrame) -> "Batch":
        """The frame as a batch; rows are numbered from 0."""
        self._count += 1
        asset = self._source.add_dataframe_asset(f"frame_{self._count}")
        whole = asset.add_batch_definition_whole_dataframe("whole")
        return whole.get_batch({"dataframe": frame.reset_index(drop=True)})


@dataclass(frozen=True)
class _Finding:
    met: bool
    result: Mapping[str, Any]
    rows: list[int]


def _validate(batch: "Batch", expectation: "Expectation") -> _Finding:
    answer: dict[str, Any] = dict(
        batch.validate(expectation, result_format={"result_format": "COMPLETE"}).to_json_dict()
    )
    result = answer["result"]
    if not isinstance(answer["success"], bool) or not isinstance(result, dict) or not result:
        # Every column was looked for before, so this is not about the data.
        raise RuntimeError(f"{type(expectation).__name__} could not be evaluated: {answer['exception_info']}")
    return _Finding(
        answer["success"], result, [int(row) for row in result.get("unexpected_index_list") or []]
    )


def _examples(frame: pd.DataFrame, rows: list[int], columns: Sequence[str]) -> pd.DataFrame:
    present = [column for column in columns if column in frame]
    return frame.reset_index(drop=True).loc[rows[:EXAMPLES], present].reset_index(drop=True)


def _row_count(batches: _Batches, frame: pd.DataFrame, config: ExpectationsConfig) -> Verdict:
    from great_expectations.expectations import ExpectTableRowCountToBeBetween

    finding = _validate(batches.of(frame), ExpectTableRowCountToBeBetween(min_value=config.min_rows))
    observed: dict[str, int | float | str] = {"rows": len(frame), "required": config.min_rows}
    return Verdict("row_count", finding.met, "critical", observed)


def _validity(batches: _Batches, frame: pd.DataFrame, config: ExpectationsConfig) -> Verdict:
    from great_expectations.expectations import ExpectColumnValuesToBeInSet

    judged = frame.assign(parsed=_parsed(frame))
    finding = _validate(
        batches.of(judged[["parsed"]]),
        ExpectColumnValuesToBeInSet(column="parsed", value_set=[True], mostly=config.min_valid_share),
    )
    observed: dict[str, int | float | str] = {
        "valid_share": float(judged["parsed"].mean()),
        "invalid": len(finding.rows),
        "required": config.min_valid_share,
    }
    examples = _examples(judged, finding.rows, ["listing_id", "attributes_text", "valid"])
    return Verdict("validity_rate", finding.met, "critical", observed, examples)


def _allowed_keys(
    batches: _Batches, frame: pd.DataFrame, config: ExpectationsConfig, keys: Sequence[str]
) -> Verdict:
    from great_expectations.expectations import ExpectColumnValuesToBeInSet

    allowed = sorted(
        {normalise_key(key) for key in (keys if config.allowed_keys is None else config.allowed_keys)}
    )
    asked: dict[str, int | float | str] = {"allowed": ", ".join(allowed)}
    expectation = ExpectColumnValuesToBeInSet(
        column="key", value_set=allowed, mostly=1 - config.max_unexpected_share
    )
    return _judge_pairs("allowed_keys", batches, frame, expectation, config, asked)


def _value_length(batches: _Batches, frame: pd.DataFrame, config: ExpectationsConfig) -> Verdict:
    from great_expectations.expectations import ExpectColumnValueLengthsToBeBetween

    expectation = ExpectColumnValueLengthsToBeBetween(
        column="value",
        min_value=1,
        max_value=config.max_value_characters,
        mostly=1 - config.max_unexpected_share,
    )
    asked: dict[str, int | float | str] = {"allowed_characters": config.max_value_characters}
    return _judge_pairs("value_length", batches, frame, expectation, config, asked)


def _judge_pairs(
    name: str,
    batches: _Batches,
    frame: pd.DataFrame,
    expectation: "Expectation",
    config: ExpectationsConfig,
    asked: dict[str, int | float | str],
) -> Verdict:
    pairs = _pairs(frame)
    if pairs.empty:
        return Verdict(name, False, "critical", {"message": "no row of the table has attributes", **asked})
    finding = _validate(batches.of(pairs), expectation)
    observed = {
        "pairs": len(pairs),
        "unexpected_pairs": len(finding.rows),
        "unexpected_share": len(finding.rows) / len(pairs),
        "allowed_share": config.max_unexpected_share,
        **asked,
    }
    examples = _examples(pairs, finding.rows, ["listing_id", "key", "value"])
    return Verdict(name, finding.met, "critical", observed, examples)


def _coverage(
    batches: _Batches, frame: pd.DataFrame, listings: pd.DataFrame, config: ExpectationsConfig
) -> Verdict:
    from great_expectations.expectations import ExpectColumnValuesToBeBetween

    known = listings.drop_duplicates("listing_id").set_index("listing_id")
    if "category" in known:
        categories = frame["listing_id"].map(known["category"]).fillna(NO_CATEGORY)
    else:
        categories = pd.Series(NO_CATEGORY, index=frame.index)
    texts = pd.DataFrame({"category": categories, "parsed": _parsed(frame)})
    shares = texts.groupby("category")["parsed"].agg(texts="size", valid_share="mean").reset_index()
    finding = _validate(
        batches.of(shares),
        ExpectColumnValuesToBeBetween(column="valid_share", min_value=config.min_category_coverage),
    )
    lowest = shares.sort_values("valid_share", kind="stable").iloc[0]
    few = bool(finding.rows) and bool((shares.loc[finding.rows, "texts"] < FEW_TEXTS).all())
    observed: dict[str, int | float | str] = {
        "categories": len(shares),
        "categories_below": len(finding.rows),
        "lowest_category": str(lowest["category"]),
        "lowest_valid_share": float(lowest["valid_share"]),
        "required": config.min_category_coverage,
    }
    examples = _examples(shares, finding.rows, ["category", "texts", "valid_share"])
    return Verdict("category_coverage", finding.met, "warning" if few else "critical", observed, examples)


def _unique(batches: _Batches, frame: pd.DataFrame, listings: pd.DataFrame) -> Verdict:
    from great_expectations.expectations import ExpectColumnValuesToBeInSet, ExpectColumnValuesToBeUnique

    judged = frame[["listing_id"]].assign(known=frame["listing_id"].isin(set(listings["listing_id"])))
    batch = batches.of(judged)
    unique = _validate(batch, ExpectColumnValuesToBeUnique(column="listing_id"))
    # A null id is in no catalog, so it is found here.
    known = _validate(batch, ExpectColumnValuesToBeInSet(column="known", value_set=[True]))
    observed: dict[str, int | float | str] = {
        "rows": len(frame),
        "rows_that_share_a_listing": len(unique.rows),
        "rows_of_unknown_listings": len(known.rows),
    }
    rows = sorted({*unique.rows, *known.rows})
    examples = _examples(frame, rows, ["listing_id", "attributes_text"])
    return Verdict("unique_listings", unique.met and known.met, "critical", observed, examples)


def _parsed(frame: pd.DataFrame) -> list[bool]:
    """Whether a row is marked valid and its text obeys the grammar: the mark alone is not believed."""

    def parses(text: object) -> bool:
        if not isinstance(text, str):
            return False
        try:
            parse(text)
        except AttributeTextError:
            return False
        return True

    return [
        valid is not None and not pd.isna(valid) and bool(valid) and parses(text)
        for text, valid in zip(frame["attributes_text"], frame["valid"], strict=True)
    ]


def _pairs(frame: pd.DataFrame) -> pd.DataFrame:
    """One row for every pair of every row that has attributes."""
    pairs = [
        (listing_id, str(key), str(value))
        for listing_id, attributes in zip(frame["listing_id"], frame["attributes"], strict=True)
        if isinstance(attributes, Mapping)
        for key, value in attributes.items()
    ]
    return pd.DataFrame(pairs, columns=["listing_id", "key", "value"])
