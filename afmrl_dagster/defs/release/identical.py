"""identical_products: what the business wanted."""

from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from afmrl_dagster import metadata
from afmrl_dagster.defs.release.product_index import PRODUCT_INDEX
from afmrl_dagster.resources import Pipeline, mlflow_ui
from afmrl_dagster.runs import model_run
from afmrl_dagster.step import step
from afmrl_dagster.tables import SPLITS, Tables

if TYPE_CHECKING:
    import pandas as pd

    from afmrl_models.retrieval.identical import Grouping

IDENTICAL_PRODUCTS = ("release", "identical_products")


@dg.asset(
    key=list(IDENTICAL_PRODUCTS),
    deps=[list(PRODUCT_INDEX), list(SPLITS)],
    group_name="release",
    kinds={"parquet"},
    description="Groups of listings that are the same product, at the precision that the profile asks for; "
    "and the pairs that a person should look at.",
)
@step
def identical_products(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult:
    """Calibrate on validation within the whole catalog, group all listings, measure the groups on test."""
    import pandas as pd

    from afmrl_models.catalog.photo_grid import photo_grid
    from afmrl_models.retrieval.ambiguous import PAIRS, ambiguous_pairs
    from afmrl_models.retrieval.calibration import calibrate, labelled_links, measure_groups
    from afmrl_models.retrieval.confidence import reliability
    from afmrl_models.retrieval.groups_page import PAGE, GroupsReport, groups_page
    from afmrl_models.retrieval.identical import GROUPS, group_identical
    from afmrl_models.retrieval.index import load_index
    from afmrl_models.retrieval.links import mutual_links
    from afmrl_models.retrieval.reviewed import Reviewed, harvest, read_reviewed

    profile, tables = pipeline.profile(), Tables(pipeline)
    config, bootstrap = profile.identical_products, profile.evaluation.bootstrap
    if not tables.of("validation")["product_id"].dropna().duplicated().any():
        raise dg.Failure(
            "release/identical_products: no product of the validation split has two listings, so the "
            "similarity threshold cannot be calibrated; map catalog.source.columns.product_id to a column "
            "that identifies products"
        )
    last = pipeline.directory(IDENTICAL_PRODUCTS)
    answers = answers_file(pipeline)
    pairs_before = _last_table(last / PAIRS)
    taken_over = 0 if pairs_before is None else harvest(pairs_before, answers)
    reviewed = read_reviewed(answers)

    index = load_index(pipeline.directory(PRODUCT_INDEX), pipeline.device())
    links = mutual_links(index, config.neighbours)
    listings = tables.listings.set_index("listing_id")
    products = [None if pd.isna(p) else p for p in listings["product_id"].reindex(index.ids)]
    split_of = dict(zip(tables.splits["listing_id"], tables.splits["split"], strict=True))
    split = pd.Series([split_of.get(listing_id) for listing_id in index.ids], dtype=object)
    validation, test = ((split == name).to_numpy() for name in ("validation", "test"))
    calibration = calibrate(links, products, validation, config.min_precision, index.origin.embedder_digest)
    threshold = float("inf") if calibration.threshold is None else calibration.threshold
    # Within a group a pair is on average more likely one product than two.
    floor = min(threshold, calibration.curve.similarity_at(0.5))

    def grouped(by: Reviewed) -> "Grouping":
        return group_identical(
            index, links, threshold, floor=floor, reviewed=by, previous=_last_table(last / GROUPS)
        )

    # Measured without the team's answers: they would flatter the model.
    nobody = Reviewed(frozenset(), frozenset())
    measured = {
        name: measure_groups(grouped(nobody).groups, index.ids, products, chosen, bootstrap, profile.seeds[0])
        for name, chosen in (("validation", validation), ("test", test))
    }
    on_test = reliability(calibration.curve, labelled_links(links, products, test))
    grouping = grouped(reviewed)
    groups = grouping.groups.assign(
        confidence=[
            1.0 if told else float(sure)
            for told, sure in zip(
                grouping.groups["reviewed"],
                calibration.curve(grouping.groups["score"].to_numpy()),
                strict=True,
            )
        ]
    )
    pairs, pairs_left_out = ambiguous_pairs(
        index,
        links,
        grouping,
        calibration.curve,
        reviewed,
        config,
        calibrated=calibration.threshold is not None,
    )
    report = GroupsReport(
        profile=profile.name,
        model=index.origin.embedder,
        listings=len(index),
        groups=groups,
        pairs=pairs,
        pairs_left_out=pairs_left_out,
        calibration=calibration,
        measured=measured,
        on_test=on_test,
        answers=str(answers),
    )
    with (
        pipeline.replacing(IDENTICAL_PRODUCTS) as out,
        model_run(context, pipeline, "release/identical_products") as run,
    ):
        groups.to_parquet(out / GROUPS, index=False)
        pairs.to_parquet(out / PAIRS, index=False)
        calibration.save(out)
        (out / PAGE).write_text(groups_page(report, tables.listings, tables.large_images), encoding="utf-8")
        run.log_artifact(out / PAGE)
        run.log_params({"model": report.model, "min_precision": config.min_precision})
        run.log_metrics(report.metrics())
    shown = groups.groupby("group_id").head(6).head(48).merge(tables.listings, on="listing_id")
    shown["title"] = [
        f"{group}: {title}" for group, title in zip(shown["group_id"], shown["title"], strict=True)
    ]
    titles = listings["title"]
    asked = pairs.head(12).assign(left=pairs["left_id"].map(titles), right=pairs["right_id"].map(titles))[
        ["confidence", "reason", "left", "right"]
    ]
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(groups),
            "page": dg.MetadataValue.url(f"{run.url(mlflow_ui())}/artifacts/{PAGE}"),
            "page_file": dg.MetadataValue.path(pipeline.directory(IDENTICAL_PRODUCTS) / PAGE),
            "groups": int(groups["group_id"].nunique()),
            "threshold": "none reaches the wanted precision" if calibration.threshold is None else threshold,
            "best_reachable_precision": "fewer than 20 labelled links"
            if calibration.best_precision is None
            else f"{calibration.best_precision:.3f}, at recall {calibration.recall_at_best:.3f}",
            **{
                f"{name}_{what}": str(getattr(quality, what))
                for name, quality in measured.items()
                for what in ("precision", "recall")
            },
            "confidence_curve": calibration.curve.kind,
            **(
                {}
                if on_test is None
                else {
                    "confidence_error_on_test": on_test.expected_calibration_error,
                    "brier_on_test": on_test.brier,
                    "brier_of_the_share_on_test": on_test.brier_of_the_share,
                }
            ),
            "ambiguous_pairs": len(pairs),
            "ambiguous_pairs_left_out": pairs_left_out,
            "ambiguous": metadata.table(asked),
            "reviewed_pairs": len(reviewed),
            "reviewed_pairs_taken_over": taken_over,
            "reviewed_pairs_contradicting": len(grouping.contradicted),
            "reviewed_pairs_file": dg.MetadataValue.path(answers),
            "chains_cut": len(grouping.cut),
            "examples": metadata.picture(photo_grid(shown, tables.images, columns=6), "groups of listings"),
            "mlflow_run": metadata.mlflow_link(run),
        }
    )


def answers_file(pipeline: Pipeline) -> Path:
    """Where the team's answers on pairs are kept; no run replaces it."""
    from afmrl_models.retrieval.reviewed import REVIEWED

    profile = pipeline.profile()
    return profile.identical_products.reviewed_pairs or Path(pipeline.home) / profile.name / REVIEWED


def _last_table(path: Path) -> "pd.DataFrame | None":
    import pandas as pd

    return pd.read_parquet(path) if path.exists() else None
