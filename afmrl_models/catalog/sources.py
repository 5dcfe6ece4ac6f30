"""Opening the catalog a profile names: a team's own table, a published benchmark, or the generated one."""

from pathlib import Path

from afmrl_models.catalog.generated_source import open_generated
from afmrl_models.catalog.published import open_published
from afmrl_models.catalog.raw_rows import CatalogSource
from afmrl_models.catalog.table_source import open_stated
from afmrl_models.config import CatalogConfig, GeneratedSource, PublishedSource


def open_source(config: CatalogConfig, workdir: Path, *, progress: bool = False) -> CatalogSource:
    """The profile's catalog, with its columns checked; a generated one is rendered into `workdir` once.

    Raises CatalogError for a missing file or column and for a table that cannot be read.
    """
    if isinstance(config.source, GeneratedSource):
        return open_generated(config.source, workdir, config.limit, progress=progress)
    if isinstance(config.source, PublishedSource):
        return open_published(config.source, config.limit)
    return open_stated(config.source, workdir, config.limit)
