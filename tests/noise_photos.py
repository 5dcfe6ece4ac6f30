"""Photos that show nothing, for tests in which only their number matters."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from afmrl_models.catalog.images import ImageStore, ImageStoreWriter


def noise_photos(path: Path, listing_ids: Iterable[str], edge: int = 28) -> ImageStore:
    """A store of noise in folder `path`, always the same: a photo a listing."""
    random = np.random.default_rng(0)
    with ImageStoreWriter(path, edge) as writer:
        for listing_id in listing_ids:
            writer.add(listing_id, random.integers(0, 256, (edge, edge, 3), dtype=np.uint8))
    return ImageStore.open(path)
