"""release/champion: the newest models become champion where every rule of the profile speaks for them."""

import json

import dagster as dg

from afmrl_dagster import metadata
from afmrl_dagster.defs.release.ablation import ABLATION
from afmrl_dagster.defs.rounds.evaluations import metrics_key
from afmrl_dagster.defs.rounds.generators import embedder_key, generator_key
from afmrl_dagster.resources import Pipeline
from afmrl_dagster.runs import model_run, recall_version
from afmrl_dagster.step import step
from afmrl_dagster.tables import EVALUATION_SET, Tables

CHAMPION = ("release", "champion")
SOUND = "versions_are_sound"


def champion(rounds: int) -> dg.AssetsDefinition:
    """Judge the last round's embedder and generator."""
    last = f"round_{rounds}"
    row = "afmrl_cit" if rounds == 1 else f"afmrl_cit_{rounds}"

    @dg.asset(
        key=list(CHAMPION),
        deps=[
            list(ABLATION),
            list(EVALUATION_SET),
            *(list(key(group)) for group in ("baseline", last) for key in (metrics_key, embedder_key)),
            list(generator_key(rounds)),
        ],
        check_specs=[
            dg.AssetCheckSpec(
                SOUND,
                asset=list(CHAMPION),
                description="Challenger and champion load from the registry, with the files that were "
                "registered, and the challenger repeats the vectors and texts that were evaluated.",
            )
        ],
        group_name="release",
        kinds={"mlflow"},
        description="Aliases `challenger` and `champion` of the registered embedder and generator, judged on "
        "the frozen evaluation set; of several training seeds, the first one's are judged.",
    )
    @step
    def asset(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult:
        from afmrl_models.registry.promotion import Bench, Pair, Shown, judge_challenger
        from afmrl_models.registry.promotion.record import (
            append_history,
            note_on_versions,
            read_history,
            report_url,
            rules_markdown,
        )
        from afmrl_models.registry.promotion.report import REPORT, champion_report
        from afmrl_models.registry.promotion.resolution import resolution
        from afmrl_models.retrieval.evaluation import Evaluation

        profile = pipeline.profile()
        seed = pipeline.of_seed(profile.seeds[0])
        tables, tracking = Tables(seed), pipeline.tracking()
        frozen = tables.judged_on()
        bench = Bench(profile, tracking, frozen, pipeline.device(), pipeline.scratch(CHAMPION))
        with pipeline.replacing(CHAMPION) as out, model_run(context, pipeline, "release/champion") as run:
            judgement = judge_challenger(
                bench,
                challenger=Pair(
                    recall_version(seed.directory(embedder_key(last))),
                    recall_version(seed.directory(generator_key(rounds))),
                ),
                baseline=Pair(recall_version(seed.directory(embedder_key("baseline")))),
                shown=Shown(
                    sample=Evaluation.load(seed.directory(metrics_key(last)) / row).sample,
                    texts=tables.attribute_table(last),
                    listings=tables.listings,
                    images=tables.images,
                    gallery_texts=profile.evaluation.enriches_gallery,
                ),
            )
            decision = judgement.decision
            record = decision.as_dict() | {
                "dagster_run": context.run_id,
                "catalog_digest": tables.catalog_digest()[:12],
            }
            earlier = read_history(pipeline.champion_history())
            # Aliases have moved: that is on record whatever becomes of the rest.
            append_history(pipeline.champion_history(), record)
            dataset = run.log_dataset(
                frozen.listings, f"{profile.name}-evaluation-set", frozen.digest, context="evaluation"
            )
            (out / "decision.json").write_text(
                json.dumps(record, indent=2, ensure_ascii=False), encoding="utf-8"
            )
            run.log_artifact(out / "decision.json")
            run.log_params({name: value for name, value in record.items() if name != "rules"})
            if judgement.challenger is not None:
                run.log_metrics(
                    judgement.challenger.evaluation.metrics,
                    model_id=judgement.pair.embedder.model_id,
                    dataset=dataset,
                )
            run.log_metrics(
                {
                    f"{kind}/{ruling.measure}": value
                    for ruling in decision.rules
                    for kind, value in (("champion", ruling.champion), ("difference", ruling.difference))
                    if value is not None
                }
            )
            report = out / REPORT
            report.write_text(champion_report(judgement, bench, earlier), encoding="utf-8")
            run.log_artifact(report)
            link = metadata.mlflow_link(run)
            note_on_versions(tracking, judgement, str(link.value), report)
        (context.log.info if decision.sound else context.log.error)(
            "%s: %s; champion: %s", decision.outcome, decision.reason, decision.champion_after
        )
        context.log.info("the evaluation set: %s", tells := resolution(decision.rules))
        return dg.MaterializeResult(
            metadata={
                "outcome": decision.outcome,
                "reason": decision.reason,
                "rules": dg.MetadataValue.md(rules_markdown(decision.rules)),
                "challenger": decision.challenger,
                "champion_before": decision.champion_before or "none",
                "champion": decision.champion_after or "none",
                "evaluation_set": f"{frozen.digest}, frozen {frozen.frozen_at}",
                "report": dg.MetadataValue.url(report_url(str(link.value), REPORT)),
                "report_file": dg.MetadataValue.path(pipeline.directory(CHAMPION) / REPORT),
                "evaluation_set_tells": tells,
                "mlflow_run": link,
            },
            check_results=[
                dg.AssetCheckResult(
                    check_name=SOUND,
                    passed=decision.sound,
                    severity=dg.AssetCheckSeverity.ERROR,
                    description=None if decision.sound else decision.reason,
                )
            ],
        )

    return asset
