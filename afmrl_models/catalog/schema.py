"""The tables a catalog becomes, and how they are written and read."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq


def column(name: str, kind: pa.DataType, says: str, *, nullable: bool = True) -> pa.Field:
    """A column and, for people, what it holds."""
    return pa.field(name, kind, nullable=nullable, metadata={"description": says})


_LISTING_ID = column("listing_id", pa.string(), "unique id of the listing", nullable=False)
_CONTENT_HASH = column(
    "content_hash",
    pa.string(),
    "sha256 of the row and its photo: another content has another",
    nullable=False,
)
LISTINGS = pa.schema(
    [
        _LISTING_ID,
        column("product_id", pa.string(), "listings that share it are the same product; null: unknown"),
        column("title", pa.string(), "as the seller wrote it", nullable=False),
        column("description", pa.string(), "longer text, where the catalog has one"),
        column("category", pa.string(), "null: unknown"),
        column("seller", pa.string(), "who offers it"),
        column("image_path", pa.string(), "the photo, under the catalog's root", nullable=False),
        column("attributes", pa.map_(pa.string(), pa.string()), "what the seller states, by key"),
        _CONTENT_HASH,
        column(
            "labels", pa.list_(pa.string()), "where used, listings that share one are relevant to each other"
        ),
    ]
)
QUARANTINE = pa.schema(
    [
        column("row", pa.int64(), "number of the row in the catalog, from 1", nullable=False),
        column("listing_id", pa.string(), "the id it states, if any"),
        column("reason", pa.string(), "one of a closed set of codes", nullable=False),
        column("detail", pa.string(), "what was found"),
    ]
)
QUARANTINE_EXAMPLES = pa.schema([*QUARANTINE, column("photo", pa.binary(), "PNG, where there is one")])
SPLITS = pa.schema(
    [
        _LISTING_ID,
        column(
            "split", pa.string(), "train, validation or test; a product is in one of them", nullable=False
        ),
        column("role", pa.string(), "of held-out listings: query or gallery"),
    ]
)
PRODUCT_ATTRIBUTES = pa.schema(
    [
        _LISTING_ID,
        column("attributes_text", pa.string(), "`key: value` pairs, joined by `; `", nullable=False),
        column("attributes", pa.map_(pa.string(), pa.string()), "the same, by key; null where not valid"),
        column("valid", pa.bool_(), "the text obeys the grammar", nullable=False),
        column("generator_version", pa.string(), "who wrote it: model and version", nullable=False),
        _CONTENT_HASH,
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
