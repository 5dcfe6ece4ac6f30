"""product_index: the champion's vectors of all listings, ready to be searched."""

from typing import TYPE_CHECKING

import dagster as dg

from afmrl_dagster import metadata
from afmrl_dagster.attribute_tables import ATTRIBUTES
from afmrl_dagster.defs.release.champion import CHAMPION
from afmrl_dagster.resources import Pipeline
from afmrl_dagster.step import step
from afmrl_dagster.tables import LISTINGS, Tables

if TYPE_CHECKING:
    from afmrl_models.registry.models import ModelVersion

PRODUCT_INDEX = ("release", "product_index")


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
    from afmrl_models.registry.models import get_alias
    from afmrl_models.registry.promotion.trust import trusted_directory
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
    directory, device = trusted_directory(tracking, version), pipeline.device()
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
    from afmrl_models.registry.packaging import read_settings
    from afmrl_models.registry.promotion.trust import trusted_directory

    profile = pipeline.profile()
    directory = trusted_directory(pipeline.tracking(), generator)
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
