import pandas as pd
import pytest

from afmrl_models.attributes.expectations import EXAMPLES, Verdict, judge_attributes
from afmrl_models.config import ExpectationsConfig

NAMES = [
    "row_count",
    "validity_rate",
    "allowed_keys",
    "value_length",
    "category_coverage",
    "unique_listings",
]
KEYS = ["Colour", "sleeve"]
ROWS = 60


@pytest.fixture
def listings() -> pd.DataFrame:
    """Three categories of 25, 25 and 10 listings, the last without a name."""
    categories = ["shirt"] * 25 + ["mug"] * 25 + [None] * 10
    return pd.DataFrame({"listing_id": [f"l{i}" for i in range(ROWS)], "category": categories})


@pytest.fixture
def frame() -> pd.DataFrame:
    attributes = [{"colour": "red", "sleeve": "long"} for _ in range(ROWS)]
    return pd.DataFrame(
        {
            "listing_id": [f"l{i}" for i in range(ROWS)],
            "attributes_text": ["colour: red; sleeve: long"] * ROWS,
            "attributes": attributes,
            "valid": [True] * ROWS,
            "generator_version": ["g/1"] * ROWS,
            "content_hash": ["h"] * ROWS,
        }
    )


def spoil(frame: pd.DataFrame, rows: range, text: str = "what a lovely shirt", flag: bool = False) -> None:
    for row in rows:
        frame.at[row, "attributes_text"] = text
        frame.at[row, "valid"] = flag
        frame.at[row, "attributes"] = None


def judge(frame: pd.DataFrame, listings: pd.DataFrame, **settings: object) -> dict[str, Verdict]:
    verdicts = judge_attributes(frame, listings, ExpectationsConfig.model_validate(settings), KEYS)
    assert [verdict.name for verdict in verdicts] == NAMES
    for verdict in verdicts:
        assert len(verdict.unexpected) <= EXAMPLES
        assert all(type(value) in (int, float, str) for value in verdict.observed.values())
    return {verdict.name: verdict for verdict in verdicts}


def failed(verdicts: dict[str, Verdict]) -> set[str]:
    return {name for name, verdict in verdicts.items() if not verdict.passed}


def test_a_sound_table_passes(frame: pd.DataFrame, listings: pd.DataFrame) -> None:
    verdicts = judge(frame, listings)
    assert not failed(verdicts)
    assert {verdict.severity for verdict in verdicts.values()} == {"critical"}
    assert verdicts["validity_rate"].observed["valid_share"] == 1.0
    assert verdicts["category_coverage"].observed["categories"] == 3


def test_an_empty_table_passes_nothing(frame: pd.DataFrame, listings: pd.DataFrame) -> None:
    assert failed(judge(frame.iloc[:0], listings)) == set(NAMES)
    assert failed(judge(frame, listings, min_rows=61)) == {"row_count"}


@pytest.mark.parametrize("flag", [False, True])
def test_texts_that_do_not_parse_are_counted_whatever_the_flag_says(
    frame: pd.DataFrame, listings: pd.DataFrame, flag: bool
) -> None:
    spoil(frame, range(6), flag=flag)
    assert not failed(judge(frame, listings, min_valid_share=0.9))
    spoil(frame, range(7), flag=flag)
    verdicts = judge(frame, listings, min_valid_share=0.9)
    assert failed(verdicts) == {"validity_rate"}
    observed = verdicts["validity_rate"].observed
    assert observed["valid_share"] == pytest.approx(53 / 60) and observed["invalid"] == 7
    assert verdicts["validity_rate"].unexpected["listing_id"].tolist() == [f"l{i}" for i in range(7)]


def test_a_text_marked_invalid_is_not_counted_although_it_parses(
    frame: pd.DataFrame, listings: pd.DataFrame
) -> None:
    frame.loc[:6, "valid"] = False
    assert judge(frame, listings)["validity_rate"].observed["invalid"] == 7


def test_keys_that_were_not_asked_for_are_shown(frame: pd.DataFrame, listings: pd.DataFrame) -> None:
    frame.at[3, "attributes"] = {"colour": "red", "price": "9"}
    verdicts = judge(frame, listings, max_unexpected_share=0.0)
    assert failed(verdicts) == {"allowed_keys"}
    assert verdicts["allowed_keys"].unexpected.to_dict("records") == [
        {"listing_id": "l3", "key": "price", "value": "9"}
    ]
    assert not failed(judge(frame, listings, max_unexpected_share=1 / 120))
    assert not failed(
        judge(frame, listings, max_unexpected_share=0.0, allowed_keys=["colour", "sleeve", "price"])
    )
    assert "allowed_keys" in failed(judge(frame, listings, allowed_keys=["colour"]))


def test_values_that_are_too_long_are_shown(frame: pd.DataFrame, listings: pd.DataFrame) -> None:
    frame.at[5, "attributes"] = {"colour": "r" * 81}
    verdicts = judge(frame, listings, max_unexpected_share=0.0)
    assert failed(verdicts) == {"value_length"}
    assert verdicts["value_length"].unexpected["listing_id"].tolist() == ["l5"]
    assert not failed(judge(frame, listings, max_unexpected_share=0.0, max_value_characters=81))


def test_a_category_without_valid_texts_stops_a_run_if_it_is_not_a_handful(
    frame: pd.DataFrame, listings: pd.DataFrame
) -> None:
    spoil(frame, range(50, 60))
    verdicts = judge(frame, listings, min_valid_share=0.5)
    assert failed(verdicts) == {"category_coverage"}
    assert verdicts["category_coverage"].severity == "warning"
    assert verdicts["category_coverage"].unexpected.to_dict("records") == [
        {"category": "(no category)", "texts": 10, "valid_share": 0.0}
    ]
    spoil(frame, range(25, 38))
    verdicts = judge(frame, listings, min_valid_share=0.5)
    assert verdicts["category_coverage"].severity == "critical"
    assert set(verdicts["category_coverage"].unexpected["category"]) == {"(no category)", "mug"}


def test_listings_twice_or_unknown_or_without_id(frame: pd.DataFrame, listings: pd.DataFrame) -> None:
    frame.loc[1, "listing_id"] = "l0"
    frame.loc[2, "listing_id"] = "elsewhere"
    frame.loc[3, "listing_id"] = None
    verdicts = judge(frame, listings)
    assert failed(verdicts) == {"unique_listings"}
    assert verdicts["unique_listings"].observed == {
        "rows": 60,
        "rows_that_share_a_listing": 2,
        "rows_of_unknown_listings": 2,
    }
    assert len(verdicts["unique_listings"].unexpected) == 4


@pytest.mark.parametrize(
    ("column", "affected"),
    [
        ("valid", {"validity_rate", "category_coverage"}),
        ("attributes_text", {"validity_rate", "category_coverage"}),
        ("attributes", {"allowed_keys", "value_length"}),
        ("listing_id", set(NAMES) - {"row_count"}),
    ],
)
def test_a_missing_column_fails_in_words(
    frame: pd.DataFrame, listings: pd.DataFrame, column: str, affected: set[str]
) -> None:
    verdicts = judge(frame.drop(columns=column), listings)
    assert failed(verdicts) == affected
    for name in affected:
        assert verdicts[name].observed == {"message": f"the table has no column '{column}'"}


def test_a_table_of_nonsense_fails_and_shows_twenty_rows(frame: pd.DataFrame, listings: pd.DataFrame) -> None:
    spoil(frame, range(ROWS))
    verdicts = judge(frame, listings)
    assert failed(verdicts) == {"validity_rate", "allowed_keys", "value_length", "category_coverage"}
    assert len(verdicts["validity_rate"].unexpected) == EXAMPLES
    assert "no row of the table has attributes" in str(verdicts["allowed_keys"].observed["message"])
