"""The embedded default catalog: rendered once, then an ordinary table."""

import hashlib
import logging
from importlib.resources import files
from pathlib import Path

from tqdm import tqdm

from afmrl_models.catalog.staging import made_once
from afmrl_models.catalog.table_source import TableCatalog, open_table, table_columns
from afmrl_models.config import ColumnMapping, GeneratedSource

_LOG = logging.getLogger(__name__)
_FIXED = ("listing_id", "product_id", "seller", "title", "category", "image")


def open_generated(
    source: GeneratedSource, workdir: Path, limit: int | None = None, *, progress: bool = False
) -> TableCatalog:
    """The generated catalog of these parameters, rendered now if `workdir` does not hold it yet."""
    folder = workdir / f"generated-{source.products}-{source.seed}-{_renderer_version()}"
    with made_once(folder) as partial:
        if partial is not None:
            _render(source, partial, progress)
    table = folder / "listings.csv"
    attributes = [name for name in table_columns(table) if name not in _FIXED]
    return open_table(table, None, ColumnMapping(seller="seller", attributes=attributes), limit)


def _render(source: GeneratedSource, folder: Path, progress: bool) -> None:
    from afmrl_models.catalog.generated import generate_catalog

    _LOG.info("rendering %d products below %s", source.products, folder.parent)
    with tqdm(total=source.products, desc="rendering", unit="product", disable=not progress) as bar:
        generate_catalog(
            source.products, source.seed, folder, progress=lambda done, _: bar.update(done - bar.n)
        )


def _renderer_version() -> str:
    """Eight digits of the sha256 of the renderer's sources: another renderer draws another catalog."""
    digest = hashlib.sha256()
    root = Path(str(files("afmrl_models.catalog.generated")))
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:8]
