"""raw_catalog → listings → splits → evaluation_set."""

import dagster as dg

from afmrl_dagster import metadata
from afmrl_dagster.resources import Pipeline
from afmrl_dagster.step import step
from afmrl_dagster.tables import EVALUATION_SET, LISTINGS, RAW_CATALOG, SPLITS, Tables

_FIRST_ROWS = 5


@dg.asset(
    key=list(RAW_CATALOG),
    group_name="catalog",
    kinds={"python", "table"},
    description="The catalog as it was handed over: a table with photos, a published benchmark, or the "
    "rendered default. Nothing is judged yet; the `digest` changes when the table or a photo does.",
)
@step
def raw_catalog(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult:
    """Open (or render) the source and say how much is in it."""
    from itertools import islice

    import pandas as pd

    from afmrl_models.catalog.sources import open_source

    config, out = pipeline.profile().catalog, pipeline.directory(RAW_CATALOG)
    source = open_source(config, out, progress=True)
    digest = source.digest()
    out.mkdir(parents=True, exist_ok=True)
    pipeline.sign(out, RAW_CATALOG)
    first = [{"row": raw.row, **raw.values} for raw in islice(source.rows(), _FIRST_ROWS)]
    mapped = source.columns.model_dump()
    taken_for = {column: key for key, column in mapped.items() if isinstance(column, str)}
    taken_for |= {column: f"attribute {column}" for column in mapped["attributes"]}
    stated = list(dict.fromkeys(name for row in first for name in row if name != "row"))
    return dg.MaterializeResult(
        data_version=dg.DataVersion(digest),
        metadata={
            "dagster/row_count": source.count_rows(),
            "dagster/column_schema": metadata.stated_columns(stated, taken_for),
            "first_rows": metadata.table(pd.DataFrame(first).fillna("")),
            "file": dg.MetadataValue.path(source.table),
            "source": dg.MetadataValue.json(config.source.model_dump(mode="json")),
            "digest": digest,
        },
    )


@dg.asset(
    key=list(LISTINGS),
    deps=[list(RAW_CATALOG)],
    group_name="catalog",
    kinds={"python", "parquet"},
    description="The listings that everything else works on: every row of the catalog with an id, a title "
    "and a photo. Rows that are refused lie in a quarantine beside them, each with its reason. A night "
    "decodes only the photos that are new.",
)
@step
def listings(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult:
    """Validate every row; decode the photos that the last run has not decoded."""
    from time import perf_counter

    import pandas as pd

    from afmrl_models.catalog.ingest import ingest
    from afmrl_models.catalog.photo_grid import photo_grid
    from afmrl_models.catalog.schema import read_table

    started = perf_counter()
    with pipeline.replacing(LISTINGS) as out:
        result = ingest(
            pipeline.profile().catalog,
            out,
            pipeline.directory(RAW_CATALOG),
            former=pipeline.directory(LISTINGS),
            refused=pipeline.scratch(LISTINGS),
            progress=True,
        )
    tables, folder = Tables(pipeline), pipeline.directory(LISTINGS)
    kept = read_table(folder / "listings.parquet", ["listing_id", "title"])
    examples = read_table(folder / "quarantine_examples.parquet")
    return dg.MaterializeResult(
        data_version=dg.DataVersion(tables.catalog_digest()),
        metadata={
            **metadata.stored_table(folder / "listings.parquet"),
            **metadata.changes(result.changes, perf_counter() - started),
            "photos_decoded": result.decoded,
            "photos_copied": result.kept - result.decoded,
            "rows_read": result.rows_read,
            "rows_quarantined": result.rows_read - result.kept,
            "quarantined_by_reason": metadata.table(
                pd.DataFrame(sorted(result.quarantined.items()), columns=["reason", "rows"])
            ),
            "quarantine_examples": metadata.photo_table(examples, "photo"),
            "sample": metadata.picture(
                photo_grid(kept.sample(min(24, len(kept)), random_state=0), tables.images), "sample listings"
            ),
        },
    )


@dg.asset(
    key=list(SPLITS),
    deps=[list(LISTINGS)],
    group_name="catalog",
    kinds={"python", "parquet"},
    description="Which listings are trained on, and which are kept for judging. Whole products are dealt, so "
    "no product of the test split is ever seen in training; the held-out ones are **queries** (searched "
    "with) or **gallery** (searched).",
)
@step
def splits(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult:
    """Deal products, never listings, to the splits; or read from a benchmark's files which are held out."""
    from afmrl_models.catalog.evaluation_set import demand_photo_size
    from afmrl_models.catalog.photo_grid import photo_grid
    from afmrl_models.catalog.published import open_published
    from afmrl_models.catalog.schema import SPLITS as SCHEMA
    from afmrl_models.catalog.schema import write_table
    from afmrl_models.catalog.splits import TEST, split_by_files, split_products
    from afmrl_models.config import PublishedSource

    profile, tables = pipeline.profile(), Tables(pipeline)
    listings, frozen = tables.listings, tables.evaluation_set
    if frozen is not None:
        demand_photo_size(frozen, profile.catalog.image_size)
    source = profile.catalog.source
    if profile.splits.kind == "files" and isinstance(source, PublishedSource):
        held_out = open_published(source, profile.catalog.limit).held_out()
        frame = split_by_files(listings, held_out, profile.splits)
    else:
        frame = split_products(listings, profile.splits, None if frozen is None else frozen.listings)
    with pipeline.replacing(SPLITS) as out:
        write_table(frame, SCHEMA, out / "splits.parquet")
    counts = frame.fillna({"role": "all"}).groupby(["split", "role"]).size().rename("listings").reset_index()
    held_out = listings.merge(frame[frame["split"] == TEST], on="listing_id").sort_values("product_id")
    held_out["title"] = held_out["role"] + ": " + held_out["title"]
    return dg.MaterializeResult(
        metadata={
            **metadata.stored_table(pipeline.directory(SPLITS) / "splits.parquet"),
            "counts": metadata.table(counts),
            "test_products": metadata.picture(
                photo_grid(held_out.head(16), tables.images), "queries and gallery of some test products"
            ),
        }
    )


@dg.asset(
    key=list(EVALUATION_SET),
    deps=[list(SPLITS)],
    group_name="catalog",
    kinds={"python", "parquet"},
    description="The test split of the first night, frozen: what promotion judges on, night after night. "
    "`afmrl freeze-evaluation` renews it.",
)
@step
def evaluation_set(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult:
    """Freeze the test split where nothing is frozen yet; else keep what is."""
    from afmrl_models.catalog.evaluation_set import freeze_evaluation_set
    from afmrl_models.catalog.photo_grid import photo_grid

    tables = Tables(pipeline)
    if tables.evaluation_set is None:
        with pipeline.replacing(EVALUATION_SET) as out:
            freeze_evaluation_set(tables.listings, tables.splits, tables.images, out)
    else:
        pipeline.sign(pipeline.directory(EVALUATION_SET), EVALUATION_SET)
    frozen = Tables(pipeline).judged_on()
    sample = frozen.listings.sample(min(24, len(frozen.listings)), random_state=0)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(frozen.digest),
        metadata={
            "dagster/row_count": len(frozen.listings),
            "digest": frozen.digest,
            "frozen_at": frozen.frozen_at,
            "queries": len(frozen.queries),
            **frozen.drift(tables.listings),
            "sample": metadata.picture(photo_grid(sample, frozen.images), "sample of the evaluation set"),
        },
    )
