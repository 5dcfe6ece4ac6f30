"""`afmrl embed`: any catalog through any trained embedder."""

from pathlib import Path

from afmrl_dagster.project import afmrl_home
from afmrl_models.config import Modality, load_profile


def embed_catalog(config: Path, model: str, generator: str | None, modality: Modality, out: Path) -> None:
    """Write embeddings.npy (float32, N × D), listing_ids.txt and, with a generator, attributes.parquet.

    Vectors have unit length. Validated listings and quarantined rows are left in out/catalog. What an earlier
    call with the same models left in `out` is used again for listings that have not changed.
    Raises UserError naming what cannot be used.
    """
    profile = load_profile(config)

    import numpy as np

    from afmrl_models.attributes.generator import AttributeGenerator
    from afmrl_models.attributes.teachers import catalog_keys
    from afmrl_models.attributes.writing import write_attributes
    from afmrl_models.backbones.checkpoint import checkpoint_digest
    from afmrl_models.backbones.device import pick_device
    from afmrl_models.catalog.images import ImageStore
    from afmrl_models.catalog.ingest import ingest
    from afmrl_models.catalog.schema import read_table
    from afmrl_models.embedding import catalog_vectors
    from afmrl_models.embedding.embedder import load_embedder
    from afmrl_models.registry.models import local_directory
    from afmrl_models.registry.packaging import SETTINGS, read_settings
    from afmrl_models.registry.tracking import Tracking

    tracking = Tracking(profile.tracking.uri, afmrl_home(), profile.name)
    embedder_directory = local_directory(tracking, model)
    generator_directory = None if generator is None else local_directory(tracking, generator)
    device = pick_device(profile.device)

    catalog = out / "catalog"
    ingest(profile.catalog, catalog, out / "source", former=catalog)
    listings = read_table(catalog / "listings.parquet")
    images = ImageStore.open(catalog / "images")
    texts: dict[str, str] | None = None
    if generator is not None and generator_directory is not None:
        if (generator_directory / SETTINGS).exists():
            keys = list(read_settings(generator_directory)["keys"])
        else:
            keys = list(profile.attributes.keys) or catalog_keys(listings)
        writer = AttributeGenerator.load(generator_directory, device)
        frame = write_attributes(
            writer,
            listings,
            images,
            keys,
            profile.attributes.generation,
            version=f"{generator} {checkpoint_digest(generator_directory)}",
            out=out / "attributes.parquet",
            progress=True,
        )
        valid = frame[frame["valid"]]
        texts = dict(zip(valid["listing_id"], valid["attributes_text"], strict=True))
    embedded = catalog_vectors.embed_catalog(
        lambda: load_embedder(embedder_directory, device),
        listings,
        images,
        modality,
        texts,
        profile.evaluation.batch_size,
        version=checkpoint_digest(embedder_directory),
        folder=out / "vectors",
        progress=True,
    )
    np.save(out / "embeddings.npy", embedded.vectors)
    (out / "listing_ids.txt").write_text("\n".join(listings["listing_id"]) + "\n", encoding="utf-8")
