"""product_attributes: what the generator writes for a whole catalog, resumable."""

import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from afmrl_models.attributes.chunks import AttributeChunks
from afmrl_models.attributes.generator import AttributeGenerator, Writing
from afmrl_models.attributes.progress import progress_of
from afmrl_models.attributes.prompt import request_text
from afmrl_models.catalog.images import ImageStore
from afmrl_models.catalog.schema import PRODUCT_ATTRIBUTES, write_table
from afmrl_models.config import GenerationConfig

logger = logging.getLogger(__name__)


def write_attributes(
    generator: AttributeGenerator,
    listings: pd.DataFrame,
    images: ImageStore,
    keys: Sequence[str],
    config: GenerationConfig,
    version: str,
    out: Path,
    progress: bool = False,
) -> pd.DataFrame:
    """Write a PRODUCT_ATTRIBUTES table for every listing to `out`, and return it in the listings' order.

    listings: `listing_id`, `title`, `content_hash`. A text the grammar refuses, or one cut off at
    `max_new_tokens`, is kept as written with `valid` False and no attributes. Every `chunk_size` listings are
    kept in the folder `<out>.chunks`: a listing already written with the same content, generator version,
    keys, length limit and size of photo is not written again, by this run resumed or by a later one. In the
    end the folder holds these listings alone.
    """
    request = [request_text(keys), str(config.max_new_tokens), str(images.size)]
    chunks = AttributeChunks(out.with_name(f"{out.name}.chunks"), version, request)
    wanted = list(zip(listings["listing_id"], listings["content_hash"], strict=True))
    pending = listings[[content not in chunks for content in wanted]]
    done = len(listings) - len(pending)
    if done:
        logger.info("%d of %d listings are already written", done, len(listings))
    with progress_of("product attributes", len(listings), done=done, enabled=progress) as bar:
        for start in range(0, len(pending), config.chunk_size):
            chunk = pending.iloc[start : start + config.chunk_size]
            chunks.keep(_rows(chunk, generator.write(chunk, images, keys, config), version))
            bar.update(len(chunk))
    table = chunks.table(wanted)
    write_table(table, PRODUCT_ATTRIBUTES, out)
    chunks.forget_all_but(table)
    return table


def _rows(listings: pd.DataFrame, writings: Sequence[Writing], version: str) -> pd.DataFrame:
    attributes = [writing.attributes() for writing in writings]
    return pd.DataFrame(
        {
            "listing_id": list(listings["listing_id"]),
            "attributes_text": [writing.text for writing in writings],
            "attributes": pd.Series(attributes, dtype=object),
            "valid": [pairs is not None for pairs in attributes],
            "generator_version": version,
            "content_hash": list(listings["content_hash"]),
        }
    )
