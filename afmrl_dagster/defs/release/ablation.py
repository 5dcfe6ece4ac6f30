"""release/ablation: the ladder, every row side by side over all seeds, with intervals."""

import json
from typing import TYPE_CHECKING

import dagster as dg

from afmrl_dagster import metadata
from afmrl_dagster.defs.release.budget import EQUAL_BUDGET, other_settings, unequal_budgets
from afmrl_dagster.defs.rounds.evaluations import LEFT_OUT, Row, metrics_key
from afmrl_dagster.resources import Pipeline
from afmrl_dagster.runs import git_revision, model_run
from afmrl_dagster.step import step
from afmrl_dagster.tables import Tables

if TYPE_CHECKING:
    import pandas as pd

    from afmrl_models.retrieval.evaluation import Evaluation

ABLATION = ("release", "ablation")


def ablation(rows: dict[str, list[Row]]) -> dg.AssetsDefinition:
    """Compare all rows on the same queries of the test split."""

    @dg.asset(
        key=list(ABLATION),
        deps=[list(metrics_key(group)) for group in rows],
        check_specs=[
            dg.AssetCheckSpec(
                EQUAL_BUDGET,
                asset=list(ABLATION),
                description="All embedders of a seed were trained with the same settings, but for those of "
                "AGCL's loss: what a row adds is the method's, not a longer training's.",
            )
        ],
        group_name="release",
        kinds={"python", "mlflow"},
        description="What each step of the method is worth: a row a step, on the same queries of unseen "
        "products, with 95 % intervals over products and seeds; and what each rung adds to the one below.",
    )
    @step
    def asset(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult:
        from afmrl_models.retrieval.ablation import judge_rows
        from afmrl_models.retrieval.ablation_plot import ablation_plot
        from afmrl_models.retrieval.ablation_report import evidence, headlines_table, summary

        profile = pipeline.profile()
        evaluations, left_out = evaluated(pipeline, rows)
        judged = judge_rows(
            {
                name: {seed: evaluation.per_query for seed, evaluation in seeds.items()}
                for name, seeds in evaluations.items()
            },
            ks=profile.evaluation.ks,
            downstream={name: [e.metrics for e in seeds.values()] for name, seeds in evaluations.items()},
            bootstrap=profile.evaluation.bootstrap,
            seed=profile.seeds[0],
        )
        others, unequal = other_settings(pipeline, rows), unequal_budgets(pipeline, rows)
        about = {
            "profile": profile.name,
            "profile_digest": profile.digest(),
            "git_revision": git_revision(),
            "catalog_digest": Tables(pipeline).catalog_digest()[:12],
            "seeds": ", ".join(map(str, profile.seeds)),
            "bootstrap": profile.evaluation.bootstrap,
            **{
                f"other settings of {asset}": made_with for asset, made_with in others.itertuples(index=False)
            },
        }
        ladder = _warning(others, unequal) + summary(judged, left_out)
        with pipeline.replacing(ABLATION) as out, model_run(context, pipeline, "release/ablation") as run:
            record = {"about": about, "left_out": left_out, **judged.as_dict()}
            (out / "ablation.json").write_text(json.dumps(record, indent=2), encoding="utf-8")
            (out / "ablation.md").write_text(ladder, encoding="utf-8")
            (out / "evidence.md").write_text(evidence(judged, about, left_out), encoding="utf-8")
            judged.rows.to_parquet(out / "ablation.parquet", index=False)
            pictures = {judged.tasks[0]: "ablation.png"}
            pictures |= {task: f"ablation_{task}.png" for task in judged.tasks[1:]}
            for task, picture in pictures.items():
                ablation_plot(judged, out / picture, task)
            for name in ("ablation.json", "evidence.md", *pictures.values()):
                run.log_artifact(out / name)
            run.log_table(judged.rows, "rows.json")
            run.log_table(judged.rungs, "rungs.json")
            run.log_params(about)
            run.log_metrics(judged.metrics())
        plots = {
            f"plot_{task}": metadata.picture_file(
                pipeline.directory(ABLATION) / picture, f"{task}: the ladder and what each rung adds"
            )
            for task, picture in pictures.items()
        }
        return dg.MaterializeResult(
            metadata={
                **plots,
                **metadata.stored_table(pipeline.directory(ABLATION) / "ablation.parquet"),
                "ladder": dg.MetadataValue.md(ladder),
                "made_with_other_settings": metadata.table(others, 100),
                "all_tasks": dg.MetadataValue.md(headlines_table(judged)),
                "rows_left_out": left_out,
                "mlflow_run": metadata.mlflow_link(run),
            },
            check_results=[
                dg.AssetCheckResult(
                    check_name=EQUAL_BUDGET,
                    passed=unequal.empty,
                    severity=dg.AssetCheckSeverity.WARN,
                    description=None if unequal.empty else _UNEQUAL,
                    metadata={} if unequal.empty else {"differing": metadata.table(unequal, 100)},
                )
            ],
        )

    return asset


_UNEQUAL = "The embedders were not trained with equal budget: their rows cannot be compared."


def _warning(others: "pd.DataFrame", unequal: "pd.DataFrame") -> str:
    """What stands above the ladder where its rows are not what the profile says; else nothing."""
    lines = [] if unequal.empty else [_UNEQUAL]
    lines += [f"{asset} was made with {made_with}." for asset, made_with in others.itertuples(index=False)]
    return "".join(f"{line}\n\n" for line in lines)


def evaluated(
    pipeline: Pipeline, rows: dict[str, list[Row]]
) -> tuple[dict[str, dict[int, "Evaluation"]], dict[str, str]]:
    """Each row's evaluations by seed, and why rows are missing."""
    from afmrl_models.retrieval.evaluation import Evaluation

    evaluations: dict[str, dict[int, Evaluation]] = {}
    left_out: dict[str, str] = {}
    for seed in pipeline.profile().seeds:
        of_seed = pipeline.of_seed(seed)
        for group, group_rows in rows.items():
            directory = of_seed.directory(metrics_key(group))
            if not (directory / LEFT_OUT).exists():
                raise dg.Failure(
                    f"release/ablation: seed {seed} has no {'/'.join(metrics_key(group))} yet: "
                    "materialize it, or take the seed out of the profile"
                )
            left_out |= json.loads((directory / LEFT_OUT).read_text(encoding="utf-8"))
            for row in group_rows:
                if row.name not in left_out:
                    evaluations.setdefault(row.name, {})[seed] = Evaluation.load(directory / row.name)
    return {name: evaluations[name] for name in evaluations if name not in left_out}, left_out
