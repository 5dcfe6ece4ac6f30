"""release/ablation: every row side by side, with intervals."""

import dagster as dg

from afmrl_dagster import metadata
from afmrl_dagster.defs.rounds.evaluations import Row, metrics_key
from afmrl_dagster.resources import Pipeline
from afmrl_dagster.runs import model_run

ABLATION = ("release", "ablation")


def ablation(rows: dict[str, list[Row]]) -> dg.AssetsDefinition:
    """Compare all rows on the same queries of the test split."""

    @dg.asset(
        key=list(ABLATION),
        deps=[list(metrics_key(group)) for group in rows],
        group_name="release",
        kinds={"python", "mlflow"},
        description="The ladder of METHOD.md on this catalog: one row a step of the method, 95 % intervals over products.",
    )
    def asset(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult:
        from afmrl_models.retrieval.ablation import ablation_plot, ablation_table
        from afmrl_models.retrieval.evaluation import Evaluation

        profile = pipeline.profile()
        evaluations = {
            row.name: Evaluation.load(pipeline.directory(metrics_key(group)) / row.name)
            for group, group_rows in rows.items()
            for row in group_rows
        }
        table = ablation_table(evaluations, resamples=profile.evaluation.bootstrap, seed=profile.seed)
        figure = ablation_plot(table)
        with pipeline.replacing(ABLATION) as out, model_run(context, pipeline, "release/ablation") as run:
            table.to_parquet(out / "ablation.parquet", index=False)
            (out / "ablation.md").write_text(table.to_markdown(index=False, floatfmt=".3f"), encoding="utf-8")
            run.log_figure(figure, "ablation.png")
            run.log_table(table, "ablation.json")
        return dg.MaterializeResult(
            metadata={
                "table": metadata.table(table),
                "plot": metadata.picture(figure, "recall by row, with 95 % intervals"),
                "mlflow_run": metadata.mlflow_link(run),
            }
        )

    return asset
