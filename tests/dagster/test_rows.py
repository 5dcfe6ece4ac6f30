"""Which rows a profile asks for, and whose attributes they show."""

import pytest
from pydantic import ValidationError

from afmrl_dagster.defs.rounds.unroll import rows_of
from afmrl_models.config import EvaluationConfig


def named(rounds: int = 1, **settings: object) -> dict[str, tuple[str, str | None, str | None]]:
    groups = rows_of(rounds, EvaluationConfig(**settings))  # type: ignore[arg-type]
    return {
        row.name: (row.embedder, row.query_attributes, row.gallery_attributes)
        for rows in groups.values()
        for row in rows
    }


def test_the_ladder_and_what_stands_beside_it() -> None:
    assert named() == {
        "baseline": ("baseline", None, None),
        "baseline_distilled": ("baseline", "round_0", None),
        "agcl": ("round_0", None, None),
        "agcl_distilled": ("round_0", "round_0", None),
        "oracle": ("round_0", "oracle", None),
        "afmrl": ("round_0", "round_1", None),
        "afmrl_cit": ("round_1", "round_1", None),
    }
    assert "oracle" not in named(oracle=False)


def test_both_sides_are_further_rows_or_the_ladders_own() -> None:
    further = named(enrich=["query", "both"])
    assert further["oracle_both"] == ("round_0", "oracle", "oracle")
    assert further["baseline_distilled_both"] == ("baseline", "round_0", "round_0")
    assert further["afmrl_both"] == ("round_0", "round_1", "round_1")
    assert further["afmrl"] == ("round_0", "round_1", None)
    own = named(enrich=["both", "query"])
    assert own["afmrl_cit"] == ("round_1", "round_1", "round_1")
    assert own["afmrl_cit_query"] == ("round_1", "round_1", None)
    assert EvaluationConfig(enrich=["both"]).enriches_gallery
    assert not EvaluationConfig(enrich=["query", "both"]).enriches_gallery


def test_the_oracle_is_no_rounds_attributes() -> None:
    rows = rows_of(2, EvaluationConfig(enrich=["query", "both"]))
    assert {row.name: row.rounds for row in rows["round_0"]} == {
        "agcl": set(),
        "agcl_distilled": {"round_0"},
        "agcl_distilled_both": {"round_0"},
        "oracle": set(),
        "oracle_both": set(),
    }
    assert [row.name for row in rows["round_2"]] == [
        "afmrl_2", "afmrl_2_both", "afmrl_cit_2", "afmrl_cit_2_both",
    ]  # fmt: skip


@pytest.mark.parametrize("enrich", [[], ["query", "query"], ["gallery"]])
def test_sides_that_make_no_sense_are_refused(enrich: list[str]) -> None:
    with pytest.raises(ValidationError, match="enrich"):
        EvaluationConfig(enrich=enrich)  # type: ignore[arg-type]
