"""product_index → identical_products: what the business wanted."""

import dagster as dg

from afmrl_dagster import metadata
from afmrl_dagster.defs.release.champion import CHAMPION
from afmrl_dagster.resources import Pipeline
from afmrl_dagster.step import step
from afmrl_dagster.tables import LISTINGS, Tables

PRODUCT_INDEX = ("release", "product_index")
IDENTICAL_PRODUCTS = ("release", "identical_products")


@dg.asset(
    key=list(PRODUCT_INDEX),
    # The listings by name, so that a run of the catalog and the index alone keeps this order.
    deps=[list(LISTINGS), list(CHAMPION)],
    group_name="release",
    kinds={"pytorch", "faiss"},
    description="The champion's vectors of all listings, in a faiss index that knows its model version.",
)
@step
def product_index(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult:
    """Embed photo and title of every listing that this champion has not embedded yet."""
    from time import perf_counter

    from afmrl_models.backbones.checkpoint import checkpoint_digest
    from afmrl_models.catalog.changes import count_changes
    from afmrl_models.embedding.catalog_vectors import embed_catalog
    from afmrl_models.embedding.embedder import load_embedder
    from afmrl_models.registry.models import get_alias, local_directory
    from afmrl_models.retrieval.index import build_index, indexed_listings

    started = perf_counter()
    profile, tables = pipeline.profile(), Tables(pipeline)
    tracking = pipeline.tracking()
    version = get_alias(tracking, f"{profile.name}-embedder", "champion")
    if version is None:
        raise dg.Failure(
            f"release/product_index: {profile.name}-embedder has no champion; run release/champion first"
        )
    name = f"{version.name}/{version.version}"
    directory, device = local_directory(tracking, version.uri), pipeline.device()
    embedded = embed_catalog(
        lambda: load_embedder(directory, device),
        tables.listings,
        tables.images,
        "multimodal",
        None,
        profile.evaluation.batch_size,
        version=checkpoint_digest(directory),
        folder=pipeline.scratch(PRODUCT_INDEX) / "vectors",
        progress=True,
    )
    ids = list(tables.listings["listing_id"])
    changes = count_changes(ids, embedded.kept, indexed_listings(pipeline.directory(PRODUCT_INDEX)))
    with pipeline.replacing(PRODUCT_INDEX) as out:
        build_index(embedded.vectors, ids, name, out)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(ids),
            **metadata.changes(changes, perf_counter() - started),
            "vectors_embedded": int((~embedded.kept).sum()),
            "vectors_kept": int(embedded.kept.sum()),
            "dimensions": embedded.vectors.shape[1],
            "model": f"{version.name} version {version.version}",
        }
    )


@dg.asset_check(
    asset=list(PRODUCT_INDEX), blocking=True, description="vectors are finite, of unit length, one a listing"
)
def vectors_are_sound(pipeline: Pipeline) -> dg.AssetCheckResult:
    """A vector of NaN or of another length would silently never be found."""
    from afmrl_models.retrieval.index import check_vectors, load_index

    index = load_index(pipeline.directory(PRODUCT_INDEX))
    observed = check_vectors(index, list(Tables(pipeline).listings["listing_id"]))
    return dg.AssetCheckResult(passed=bool(observed["sound"]), metadata=observed)


@dg.asset(
    key=list(IDENTICAL_PRODUCTS),
    deps=[list(PRODUCT_INDEX)],
    group_name="release",
    kinds={"parquet"},
    description="Groups of listings that are the same product, at the precision that the profile asks for.",
)
@step
def identical_products(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult:
    """Set the threshold on the validation split, then group all listings."""
    from afmrl_models.catalog.photo_grid import photo_grid
    from afmrl_models.retrieval.identical import calibrate_threshold, group_identical
    from afmrl_models.retrieval.index import load_index

    profile, tables = pipeline.profile(), Tables(pipeline)
    config = profile.identical_products
    index = load_index(pipeline.directory(PRODUCT_INDEX))
    validation = tables.of("validation")
    if not validation["product_id"].dropna().duplicated().any():
        raise dg.Failure(
            "release/identical_products: no product of the validation split has two listings, so the "
            "similarity threshold cannot be calibrated; map catalog.source.columns.product_id to a column "
            "that identifies products"
        )
    vectors = index.vectors()
    row_of = {listing_id: row for row, listing_id in enumerate(index.ids)}
    calibration = calibrate_threshold(
        vectors[[row_of[listing_id] for listing_id in validation["listing_id"]]],
        list(validation["product_id"]),
        config.min_precision,
        neighbours=config.neighbours,
    )
    groups = group_identical(vectors, index.ids, calibration.threshold, neighbours=config.neighbours)
    with pipeline.replacing(IDENTICAL_PRODUCTS) as out:
        groups.to_parquet(out / "identical_products.parquet", index=False)
    groups_possible = calibration.precision is not None
    shown = groups.groupby("group_id").head(6).head(48).merge(tables.listings, on="listing_id")
    shown["title"] = shown["group_id"] + ": " + shown["title"]
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(groups),
            "groups": int(groups["group_id"].nunique()),
            "threshold": calibration.threshold if groups_possible else "none reaches the wanted precision",
            "validation_precision": calibration.precision if groups_possible else "nothing is grouped",
            "validation_recall": calibration.recall,
            "examples": metadata.picture(photo_grid(shown, tables.images, columns=6), "groups of listings"),
        }
    )
