"""Tables of typed columns: Parquet, and the folders that HF datasets' save_to_disk writes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from afmrl_models.catalog.errors import CatalogError

_ROWS_PER_BATCH = 128


def column_names(table: Path) -> list[str]:
    """The names of all columns. Raises CatalogError for a table that cannot be read."""
    return list(_schema(table).names)


def count_rows(table: Path) -> int:
    """How many rows the table has."""
    return len(_open_saved(table)) if table.is_dir() else int(_open_parquet(table).metadata.num_rows)


def holds_paths(table: Path, image: str) -> bool:
    """Whether the image column holds paths (strings) or also may (HF datasets' struct of bytes and path)."""
    kind = _schema(table).field(image).type
    return not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def batches(table: Path, columns: list[str]) -> Iterator[list[dict[str, Any]]]:
    """The rows, a few at a time; a class label of HF datasets is its name."""
    if not table.is_dir():
        with _open_parquet(table) as file:
            for batch in file.iter_batches(batch_size=_ROWS_PER_BATCH, columns=columns):
                yield batch.to_pylist()
        return
    from datasets import ClassLabel

    saved = _open_saved(table)
    labels = {n: f for n, f in saved.features.items() if isinstance(f, ClassLabel) and n in columns}
    for batch in saved.select_columns(columns).with_format("arrow").iter(_ROWS_PER_BATCH):
        rows = batch.to_pylist()
        for row in rows:
            row |= {n: None if row[n] is None else feature.int2str(row[n]) for n, feature in labels.items()}
        yield rows


def _schema(table: Path) -> pa.Schema:
    return _open_saved(table).features.arrow_schema if table.is_dir() else _open_parquet(table).schema_arrow


def _open_parquet(table: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(table)
    except (OSError, pa.ArrowException) as error:
        raise CatalogError(f"{table}: cannot be read as Parquet: {error}") from None


def _open_saved(table: Path) -> Any:
    from datasets import load_from_disk

    try:
        return load_from_disk(str(table))
    except Exception as error:  # missing or damaged files raise nearly anything
        raise CatalogError(f"{table}: cannot be read as a saved dataset: {error}") from None
