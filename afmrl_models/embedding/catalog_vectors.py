"""The vectors of a whole catalog, embedding only what no earlier run has embedded."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sentence_transformers import SentenceTransformer

from afmrl_models.catalog.images import ImageStore
from afmrl_models.config import Modality
from afmrl_models.embedding.embedder import encode_listings
from afmrl_models.embedding.kept_vectors import KeptVectors, vector_key

logger = logging.getLogger(__name__)

_LISTINGS_A_FILE = 8192


@dataclass(frozen=True)
class CatalogVectors:
    """float32 (N, D) in the listings' order, and for each, bool, whether an earlier run embedded it."""

    vectors: np.ndarray
    kept: np.ndarray


def embed_catalog(
    load: Callable[[], SentenceTransformer],
    listings: pd.DataFrame,
    images: ImageStore,
    modality: Modality,
    attributes: Mapping[str, str] | None,
    batch_size: int,
    version: str,
    folder: Path,
    progress: bool = False,
) -> CatalogVectors:
    """Embed what `folder` does not hold for this embedder version; it then holds exactly these listings.

    listings: `listing_id`, `title`, `content_hash`; attributes as for `encode_listings`. A vector is found
    by content hash, attribute text, version, modality and the photos' size; `load` is called only if one is
    missing. A kept vector is bit for bit the one embedded first. One embedded anew may differ from it by
    rounding, for it then shares a batch with other listings. A stopped run resumes after its last 8,192.
    """
    kept = KeptVectors(folder, [version, modality, str(images.size)])
    texts = attributes or {}
    keys = [
        vector_key(content, texts.get(listing_id))
        for content, listing_id in zip(listings["content_hash"], listings["listing_id"], strict=True)
    ]
    known = np.array([key in kept for key in keys], dtype=bool)
    missing = np.flatnonzero(~known)
    logger.info("%d of %d listings are already embedded", known.sum(), len(keys))
    if not keys:
        none = np.empty((0, load().get_embedding_dimension() or 0), np.float32)
        kept.forget_all_but(keys, none)
        return CatalogVectors(none, known)
    if len(missing):
        model = load()
        for start in range(0, len(missing), _LISTINGS_A_FILE):
            rows = missing[start : start + _LISTINGS_A_FILE]
            part = encode_listings(
                model, listings.iloc[rows], images, modality, attributes, batch_size, progress
            )
            kept.keep([keys[row] for row in rows], part)
    vectors = kept.vectors(keys)
    kept.forget_all_but(keys, vectors)
    return CatalogVectors(vectors, known)
