"""The tables a catalog becomes, and how they are written and read."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

LISTINGS = pa.schema(
    [
        pa.field("listing_id", pa.string(), nullable=False),
        pa.field("product_id", pa.string()),
        pa.field("title", pa.string(), nullable=False),
        pa.field("description", pa.string()),
        pa.field("category", pa.string()),
        pa.field("seller", pa.string()),
        pa.field("image_path", pa.string(), nullable=False),
        pa.field("attributes", pa.map_(pa.string(), pa.string())),
        pa.field("content_hash", pa.string(), nullable=False),
        pa.field("labels", pa.list_(pa.string())),
    ]
)
QUARANTINE = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("listing_id", pa.string()),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("detail", pa.string()),
    ]
)
QUARANTINE_EXAMPLES = pa.schema([*QUARANTINE, pa.field("photo", pa.binary())])
SPLITS = pa.schema(
    [
        pa.field("listing_id", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("role", pa.string()),
    ]
)
PRODUCT_ATTRIBUTES = pa.schema(
    [
        pa.field("listing_id", pa.string(), nullable=False),
        pa.field("attributes_text", pa.string(), nullable=False),
        pa.field("attributes", pa.map_(pa.string(), pa.string())),
        pa.field("valid", pa.bool_(), nullable=False),
        pa.field("generator_version", pa.string(), nullable=False),
        pa.field("content_hash", pa.string(), nullable=False),
    ]
)


class TableWriter:
    """Writes a table in pieces under a temporary name; leaving the `with` block renames it.

    A reader never sees half a table: an exception inside the block removes what was written.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path = path
        self._schema = schema
        self._partial = path.with_name(f".{path.name}.{os.getpid()}.partial")

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = pq.ParquetWriter(self._partial, self._schema)
        return self

    def write(self, rows: pd.DataFrame) -> None:
        """Append rows; a map column (`attributes`) holds one dict[str, str] (or None) a row."""
        self.write_columns(
            {
                field.name: [None if v is None or v is pd.NA or v != v else v for v in rows[field.name]]
                for field in self._schema
            }
        )

    def write_columns(self, columns: Mapping[str, Sequence[object]]) -> None:
        """Append rows given as one list a column, None where a value is missing."""
        arrays = [
            pa.array(
                [list(v.items()) if isinstance(v, dict) else None for v in columns[field.name]]
                if pa.types.is_map(field.type)
                else columns[field.name],
                type=field.type,
            )
            for field in self._schema
        ]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._writer.close()
        if kind is None:
            self._partial.replace(self._path)
        else:
            self._partial.unlink(missing_ok=True)


def write_table(rows: pd.DataFrame, schema: pa.Schema, path: Path) -> None:
    """Write rows as Parquet under a temporary name, then rename: a reader never sees half a table.

    A map column (`attributes`) holds one dict[str, str] (or None) a row, a list column (`labels`) a list.
    """
    with TableWriter(path, schema) as writer:
        writer.write(rows)


def read_table(path: Path, columns: Iterable[str] | None = None) -> pd.DataFrame:
    """Read a table of `write_table`; maps come back as dict[str, str], missing strings as None."""
    table = pq.read_table(path, columns=None if columns is None else list(columns))
    return pd.DataFrame(
        {
            name: pd.Series(
                [None if v is None else dict(v) for v in column.to_pylist()]
                if pa.types.is_map(column.type)
                else column.to_pylist(),
                dtype=object if pa.types.is_string(column.type) or pa.types.is_nested(column.type) else None,
            )
            for name, column in zip(table.column_names, table.columns, strict=True)
        }
    )
