"""release/champion: the newest models become champion unless they are worse than the one in force."""

import json

import dagster as dg

from afmrl_dagster import metadata
from afmrl_dagster.defs.release.ablation import ABLATION
from afmrl_dagster.defs.rounds.evaluations import metrics_key
from afmrl_dagster.defs.rounds.generators import embedder_key, generator_key
from afmrl_dagster.resources import Pipeline
from afmrl_dagster.runs import model_run, recall_version
from afmrl_dagster.step import step
from afmrl_dagster.tables import Tables

CHAMPION = ("release", "champion")


def champion(rounds: int) -> dg.AssetsDefinition:
    """Judge the last round's embedder and generator."""
    last = f"round_{rounds}"
    row = "afmrl_cit" if rounds == 1 else f"afmrl_cit_{rounds}"

    @dg.asset(
        key=list(CHAMPION),
        deps=[
            list(ABLATION),
            *(list(key(group)) for group in ("baseline", last) for key in (metrics_key, embedder_key)),
            list(generator_key(rounds)),
        ],
        group_name="release",
        kinds={"mlflow"},
        description="Aliases `challenger` and `champion` of the registered embedder and generator; "
        "of several training seeds, the first one's are judged.",
    )
    @step
    def asset(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult:
        from afmrl_models.registry.promotion import judge_challenger
        from afmrl_models.retrieval.evaluation import Evaluation

        profile = pipeline.profile()
        seed = pipeline.of_seed(profile.seeds[0])
        tables = Tables(seed)
        with pipeline.replacing(CHAMPION) as out, model_run(context, pipeline, "release/champion") as run:
            decision = judge_challenger(
                profile,
                pipeline.tracking(),
                embedder=recall_version(seed.directory(embedder_key(last))),
                generator=recall_version(seed.directory(generator_key(rounds))),
                evaluated=Evaluation.load(seed.directory(metrics_key(last)) / row),
                baseline=recall_version(seed.directory(embedder_key("baseline"))),
                baseline_evaluated=Evaluation.load(seed.directory(metrics_key("baseline")) / "baseline"),
                test=tables.of("test"),
                splits=tables.splits,
                images=tables.images,
                attributes=tables.attribute_texts(last),
                keys=tables.attribute_keys,
                device=pipeline.device(),
            )
            (out / "decision.json").write_text(json.dumps(decision.as_dict(), indent=2), encoding="utf-8")
            run.log_params(decision.as_dict())
        return dg.MaterializeResult(
            metadata={**decision.as_dict(), "mlflow_run": metadata.mlflow_link(run)},
        )

    return asset
