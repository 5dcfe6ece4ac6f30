"""Listings' photos larger than the store keeps them, decoded again from where the catalog has them."""

from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from afmrl_models.catalog.decoding import decode
from afmrl_models.catalog.errors import CatalogError
from afmrl_models.catalog.images import ImageStore
from afmrl_models.catalog.photos import PhotoFolder, Photos
from afmrl_models.catalog.published import open_published
from afmrl_models.catalog.quarantine import RowError
from afmrl_models.catalog.table_files import find_table
from afmrl_models.config import CatalogConfig, GeneratedSource, PublishedSource

PHOTO_EDGE = 320  # pixels


class LargePhotos:
    """Photos for people to look at: squares of `edge` pixels, or the store's own where those are no smaller.

    image_paths: by listing id, as the listings table states them. originals: where they lie; None, or a photo
    that is there no more: the store's square. What a model sees is always the store's.
    """

    def __init__(
        self, store: ImageStore, image_paths: Mapping[str, str], originals: Photos | None, edge: int
    ) -> None:
        self._store, self._image_paths, self._originals = store, image_paths, originals
        self._edge = edge

    def __contains__(self, listing_id: object) -> bool:
        return listing_id in self._store

    def get(self, listing_id: str) -> Image.Image:
        """The photo, RGB, upright, fitted whole into a square. Raises KeyError for an unknown listing."""
        if self._originals is not None and self._edge > self._store.size and listing_id in self._store:
            try:
                data = self._originals.read(self._image_paths[listing_id])
                return Image.fromarray(decode(data, self._edge))
            except (KeyError, RowError):
                pass  # moved, or changed into no photo, since it was read: the store has it as it was
        return self._store.get(listing_id)


def local_originals(config: CatalogConfig, workdir: Path) -> PhotoFolder | None:
    """The folder of a catalog's photos; None where they are behind URLs, inside a table, or not there.

    workdir: that of `open_source`. Nothing is fetched and nothing rendered.
    """
    source = config.source
    try:
        if isinstance(source, GeneratedSource):
            folder = max(workdir.glob(f"generated-{source.products}-{source.seed}-*"), default=None)
        elif isinstance(source, PublishedSource):
            return open_published(source, config.limit).photos
        elif isinstance(source.images, str) or isinstance(source.path, str):
            return None
        else:
            table = find_table(source.path)
            folder = source.images or (table if table.is_dir() else table.parent)
    except CatalogError:
        return None
    return PhotoFolder(folder) if folder is not None and folder.is_dir() else None
