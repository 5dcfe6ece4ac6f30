"""The profile's rounds, unrolled: Dagster's graph has no loops, so each round has its own assets."""

from dataclasses import dataclass

import dagster as dg

from afmrl_dagster.defs.rounds.cross_fitted import cross_fitted_attributes
from afmrl_dagster.defs.rounds.embedders import embedder
from afmrl_dagster.defs.rounds.evaluations import ORACLE, Row, retrieval_metrics
from afmrl_dagster.defs.rounds.expectations import attribute_expectations
from afmrl_dagster.defs.rounds.generators import distilled_generator, refined_generator
from afmrl_dagster.defs.rounds.product_attributes import product_attributes
from afmrl_models.config import EvaluationConfig, Profile

_BASELINE = (
    "The embedder to beat: VLM2Vec, trained with plain InfoNCE on the very pairs, steps and starting weights "
    "that AGCL has."
)
_AGCL = (
    "The first embedder of the method (AGCL): InfoNCE in which look-alikes weigh more, by the likeness "
    "(BM25) of their attributes of round 0."
)
_CIT = (
    "The embedder trained again (CIT): AGCL from the same start, with the attributes of round {}, which the "
    "refined generator wrote."
)


@dataclass(frozen=True)
class Rounds:
    """Assets and checks of the baseline and of all rounds, and the rows they are judged by."""

    assets: list[dg.AssetsDefinition]
    checks: list[dg.AssetChecksDefinition]
    rows: dict[str, list[Row]]


def rows_of(rounds: int, evaluation: EvaluationConfig) -> dict[str, list[Row]]:
    """The ablation's rows by the group that evaluates them; rows of further rounds are numbered.

    Rows with attributes are repeated for every further side that shows them, which their names then tell.
    """

    def enriched(name: str, embedder: str, attributes: str) -> list[Row]:
        return [
            Row(
                name if sides == evaluation.enrich[0] else f"{name}_{sides}",
                embedder,
                query_attributes=attributes,
                gallery_attributes=attributes if sides == "both" else None,
            )
            for sides in evaluation.enrich
        ]

    rows = {
        "baseline": [Row("baseline", "baseline"), *enriched("baseline_distilled", "baseline", "round_0")],
        "round_0": [Row("agcl", "round_0"), *enriched("agcl_distilled", "round_0", "round_0")],
    }
    if evaluation.oracle:
        rows["round_0"] += enriched("oracle", "round_0", ORACLE)
    for number in range(1, rounds + 1):
        suffix = "" if number == 1 else f"_{number}"
        rows[f"round_{number}"] = [
            *enriched(f"afmrl{suffix}", f"round_{number - 1}", f"round_{number}"),
            *enriched(f"afmrl_cit{suffix}", f"round_{number}", f"round_{number}"),
        ]
    return rows


def unroll(profile: Profile) -> Rounds:
    """Build the assets of round_0 … round_<rounds> and of the baseline."""
    rounds = profile.rounds
    rows = rows_of(rounds, profile.evaluation)
    cross_fitted = profile.attributes.sft.folds > 1
    assets = [
        *([cross_fitted_attributes] if cross_fitted else []),
        distilled_generator,
        product_attributes(0, cross_fitted),
        embedder("baseline", "infonce", 0, _BASELINE),
        embedder("round_0", "agcl", 0, _AGCL),
    ]
    for number in range(1, rounds + 1):
        assets += [
            refined_generator(number),
            product_attributes(number),
            embedder(f"round_{number}", "agcl", number, _CIT.format(number)),
        ]
    assets += [retrieval_metrics(group, group_rows) for group, group_rows in rows.items()]
    checks = [attribute_expectations(number, profile) for number in range(rounds + 1)]
    return Rounds(assets, checks, rows)
