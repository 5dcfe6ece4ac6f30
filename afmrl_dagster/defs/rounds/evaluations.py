"""retrieval_metrics of the baseline and of each round: rows of the ablation."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dagster as dg

from afmrl_dagster import metadata
from afmrl_dagster.defs.rounds.generators import embedder_key
from afmrl_dagster.resources import Pipeline
from afmrl_dagster.runs import log_catalog, model_run, recall_version
from afmrl_dagster.step import step
from afmrl_dagster.tables import Tables

if TYPE_CHECKING:
    from pathlib import Path

    from afmrl_models.retrieval.evaluation import Encode

ORACLE = "oracle"
LEFT_OUT = "left_out.json"


@dataclass(frozen=True)
class Row:
    """One row of the ablation: an embedder, and whose attributes each side shows.

    A round's generator, ORACLE (what the shop states of the product), or None (the title alone).
    """

    name: str
    embedder: str
    query_attributes: str | None = None
    gallery_attributes: str | None = None

    @property
    def rounds(self) -> set[str]:
        """The rounds whose attributes the row shows."""
        return {self.query_attributes, self.gallery_attributes} - {ORACLE, None}  # type: ignore[return-value]


def metrics_key(group: str) -> tuple[str, str]:
    """Key of the evaluations of `baseline` or of a round."""
    return (group, "retrieval_metrics")


def retrieval_metrics(group: str, rows: list[Row]) -> dg.AssetsDefinition:
    """Evaluate these rows on the test split; each is an MLflow run with the same metric names."""
    key = metrics_key(group)
    deps = {embedder_key(row.embedder) for row in rows}
    deps |= {(shown, "product_attributes") for row in rows for shown in row.rounds}

    @dg.asset(
        key=list(key),
        deps=sorted(map(list, deps)),
        group_name=group,
        kinds={"pytorch", "mlflow"},
        description="How well products never seen in training are found again: retrieval tasks with 95 % "
        "intervals, and downstream measures. Rows: " + ", ".join(f"`{r.name}`" for r in rows) + ".",
    )
    @step
    def asset(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult:
        import pandas as pd

        from afmrl_models.embedding.embedder import load_embedder
        from afmrl_models.retrieval.contact_sheet import contact_sheet, sheet_rows
        from afmrl_models.retrieval.evaluation import Evaluation, evaluate_embedder, model_encoder
        from afmrl_models.retrieval.oracle import oracle_attributes
        from afmrl_models.retrieval.recall_plot import recall_plot

        profile, tables = pipeline.profile(), Tables(pipeline)
        test = tables.of("test")
        shown: dict[str, dict[str, float]] = {}
        evaluations: dict[str, Evaluation] = {}
        links: dict[str, dg.MetadataValue] = {}
        left_out: dict[str, str] = {}

        def attributes(of: str | None) -> dict[str, str] | None:
            if of != ORACLE:
                return None if of is None else tables.attribute_texts(of)
            return oracle_attributes(
                tables.listings, tables.splits, tables.images, tables.attribute_keys, split="test"
            )

        encoders: dict[str, Encode] = {}

        def encoder(directory: "Path") -> "Encode":
            """One for all rows of an embedder: what they share is embedded once."""
            if str(directory) not in encoders:
                model = load_embedder(directory, pipeline.device())
                batch_size = profile.evaluation.batch_size
                encoders[str(directory)] = model_encoder(model, tables.images, batch_size, progress=True)
            return encoders[str(directory)]

        with pipeline.replacing(key) as out:
            for row in rows:
                directory = pipeline.directory(embedder_key(row.embedder))
                version = recall_version(directory)
                of_query, of_gallery = attributes(row.query_attributes), attributes(row.gallery_attributes)
                if row.query_attributes == ORACLE and not of_query:
                    left_out[row.name] = (
                        f"no seller states {', '.join(tables.attribute_keys) or 'any attribute'} "
                        "of a test product: there is no truth to show"
                    )
                    context.log.warning("row %s is left out: %s", row.name, left_out[row.name])
                    continue
                with model_run(
                    context, pipeline, f"evaluation/{row.name}", round=group, kind="evaluation", row=row.name
                ) as run:
                    evaluation = evaluate_embedder(
                        None,
                        test,
                        tables.splits,
                        None,
                        profile.evaluation,
                        split="test",
                        query_attributes=of_query,
                        gallery_attributes=of_gallery,
                        seed=pipeline.seed,
                        encode=encoder(directory),
                        device=pipeline.device(),
                    )
                    evaluation.save(out / row.name)
                    run.log_params(
                        {
                            "row": row.name,
                            "evaluation": profile.evaluation.model_dump(),
                            "seed": pipeline.seed,
                            "embedder": f"{version.name}/{version.version}",
                            "query_attributes": row.query_attributes or "none",
                            "gallery_attributes": row.gallery_attributes or "none",
                        }
                    )
                    dataset = log_catalog(run, tables, "test", context="evaluation")
                    run.log_metrics(evaluation.metrics, model_id=version.model_id, dataset=dataset)
                    if not evaluation.per_query.empty:
                        sheet = contact_sheet(sheet_rows(evaluation, tables.listings), tables.images)
                        run.log_image(sheet, "best_and_worst_queries.png")
                        links[f"queries_{row.name}"] = metadata.picture(
                            sheet, f"best and worst queries of {row.name}"
                        )
                shown[row.name], evaluations[row.name] = evaluation.metrics, evaluation
                links[f"mlflow_run_{row.name}"] = metadata.mlflow_link(run)
            (out / LEFT_OUT).write_text(json.dumps(left_out, indent=2), encoding="utf-8")
        frame = pd.DataFrame(shown).rename_axis("metric").reset_index()
        return dg.MaterializeResult(
            metadata={
                "recall_by_task": metadata.picture(
                    recall_plot(evaluations, profile.evaluation.ks), "recall by task, with 95 % intervals"
                ),
                "path": dg.MetadataValue.path(pipeline.directory(key)),
                "metrics": metadata.table(frame, 200),
                "rows_left_out": left_out,
                **links,
            }
        )

    return asset
