"""Catalogs: sources, validation with quarantine, the image store, and splits by product."""

from afmrl_models.catalog.errors import CatalogError
from afmrl_models.catalog.images import ImageStore
from afmrl_models.catalog.ingest import IngestResult, ingest
from afmrl_models.catalog.quarantine import Reason
from afmrl_models.catalog.raw_rows import CatalogSource, RawRow
from afmrl_models.catalog.sources import open_source
from afmrl_models.catalog.splits import split_by_files, split_products

__all__ = [
    "CatalogError",
    "CatalogSource",
    "ImageStore",
    "IngestResult",
    "RawRow",
    "Reason",
    "ingest",
    "open_source",
    "split_by_files",
    "split_products",
]
