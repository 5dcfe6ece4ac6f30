"""product_index → identical_products: what the business wanted."""

from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from afmrl_dagster import metadata
from afmrl_dagster.attribute_tables import ATTRIBUTES
from afmrl_dagster.defs.release.champion import CHAMPION
from afmrl_dagster.resources import Pipeline
from afmrl_dagster.step import step
from afmrl_dagster.tables import LISTINGS, SPLITS, Tables

if TYPE_CHECKING:
    import pandas as pd

    from afmrl_models.registry.models import ModelVersion
    from afmrl_models.retrieval.identical import Grouping

PRODUCT_INDEX = ("release", "product_index")
IDENTICAL_PRODUCTS = ("release", "identical_products")
GROUPS, PAIRS = "identical_products.parquet", "ambiguous_pairs.parquet"


@dg.asset(
    key=list(PRODUCT_INDEX),
    # The listings by name, so that a run of the catalog and the index alone keeps this order.
    deps=[list(LISTINGS), list(CHAMPION)],
    group_name="release",
    kinds={"pytorch", "faiss"},
    description="The champion's vectors of all listings, in a faiss index that knows whose vectors it holds.",
)
@step
def product_index(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult:
    """Embed every listing that is not embedded yet, as the champion's evaluation showed listings to it."""
    from time import perf_counter

    from afmrl_models.backbones.checkpoint import checkpoint_digest
    from afmrl_models.catalog.changes import count_changes
    from afmrl_models.embedding.catalog_vectors import embed_catalog
    from afmrl_models.embedding.embedder import load_embedder
    from afmrl_models.registry.models import get_alias, local_directory
    from afmrl_models.retrieval.index import Origin, build_index, indexed_listings

    started = perf_counter()
    profile, tables = pipeline.profile(), Tables(pipeline)
    tracking = pipeline.tracking()
    version = get_alias(tracking, f"{profile.name}-embedder", "champion")
    if version is None:
        raise dg.Failure(
            f"release/product_index: {profile.name}-embedder has no champion; run release/champion first"
        )
    generator = (
        get_alias(tracking, f"{profile.name}-generator", "champion")
        if profile.evaluation.enriches_gallery
        else None
    )
    texts, generator_digest = None, None
    if generator is not None:
        texts, generator_digest = _attribute_texts(pipeline, tables, generator)
    directory, device = local_directory(tracking, version.uri), pipeline.device()
    origin = Origin(
        version.uri,
        checkpoint_digest(directory),
        None if generator is None else generator.uri,
        generator_digest,
    )
    embedded = embed_catalog(
        lambda: load_embedder(directory, device),
        tables.listings,
        tables.images,
        "multimodal",
        texts,
        profile.evaluation.batch_size,
        version=origin.embedder_digest,
        folder=pipeline.scratch(PRODUCT_INDEX) / "vectors",
        progress=True,
    )
    ids = list(tables.listings["listing_id"])
    changes = count_changes(ids, embedded.kept, indexed_listings(pipeline.directory(PRODUCT_INDEX)))
    with pipeline.replacing(PRODUCT_INDEX) as out:
        index = build_index(embedded.vectors, ids, origin, out, profile.product_index, device)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(ids),
            **metadata.changes(changes, perf_counter() - started),
            "vectors_embedded": int((~embedded.kept).sum()),
            "vectors_kept": int(embedded.kept.sum()),
            "dimensions": embedded.vectors.shape[1],
            "model": f"{version.name} version {version.version}",
            "listings_show": "photo and title"
            if generator is None
            else f"photo, title and the attributes that {generator.name} version {generator.version} writes",
            "recipe": index.recipe.factory,
        }
    )


def _attribute_texts(
    pipeline: Pipeline, tables: Tables, generator: "ModelVersion"
) -> tuple[dict[str, str], str]:
    """What the champion's generator writes for every listing (valid texts), and the digest of its files."""
    from afmrl_models.attributes.generator import AttributeGenerator
    from afmrl_models.attributes.writing import write_attributes
    from afmrl_models.backbones.checkpoint import checkpoint_digest
    from afmrl_models.registry.models import local_directory
    from afmrl_models.registry.packaging import read_settings

    profile = pipeline.profile()
    directory = local_directory(pipeline.tracking(), generator.uri)
    digest = checkpoint_digest(directory)
    frame = write_attributes(
        AttributeGenerator.load(directory, pipeline.device(), profile.generator.dtype),
        tables.listings,
        tables.images,
        list(read_settings(directory)["keys"]),
        profile.attributes.generation,
        version=f"{generator.name}/{generator.version} {digest}",
        out=pipeline.scratch(PRODUCT_INDEX) / ATTRIBUTES,
        progress=True,
    )
    valid = frame[frame["valid"]]
    return dict(zip(valid["listing_id"], valid["attributes_text"], strict=True)), digest


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
    from afmrl_models.retrieval.ambiguous import ambiguous_pairs
    from afmrl_models.retrieval.calibration import calibrate, labelled_links, measure_groups
    from afmrl_models.retrieval.confidence import reliability
    from afmrl_models.retrieval.identical import group_identical
    from afmrl_models.retrieval.index import load_index
    from afmrl_models.retrieval.links import mutual_links
    from afmrl_models.retrieval.reviewed import REVIEWED, Reviewed, harvest, read_reviewed

    profile, tables = pipeline.profile(), Tables(pipeline)
    config, bootstrap = profile.identical_products, profile.evaluation.bootstrap
    if not tables.of("validation")["product_id"].dropna().duplicated().any():
        raise dg.Failure(
            "release/identical_products: no product of the validation split has two listings, so the "
            "similarity threshold cannot be calibrated; map catalog.source.columns.product_id to a column "
            "that identifies products"
        )
    last = pipeline.directory(IDENTICAL_PRODUCTS)
    answers = config.reviewed_pairs or Path(pipeline.home) / profile.name / REVIEWED
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
    with pipeline.replacing(IDENTICAL_PRODUCTS) as out:
        groups.to_parquet(out / GROUPS, index=False)
        pairs.to_parquet(out / PAIRS, index=False)
        calibration.save(out)
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
        }
    )


def _last_table(path: Path) -> "pd.DataFrame | None":
    import pandas as pd

    return pd.read_parquet(path) if path.exists() else None
