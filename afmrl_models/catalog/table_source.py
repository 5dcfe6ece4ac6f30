"""A team's own table (.csv, .tsv, .jsonl, .parquet) with photos in a folder or inside the table."""

import difflib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from afmrl_models.catalog import arrow_tables
from afmrl_models.catalog.delimited import read_records
from afmrl_models.catalog.errors import CatalogError
from afmrl_models.catalog.photos import PhotoFolder, Photos
from afmrl_models.catalog.quarantine import Reason
from afmrl_models.catalog.raw_rows import RawRow
from afmrl_models.catalog.table_files import (
    DELIMITERS,
    SAVED_DATASET,
    TEXTS,
    find_table,
    format_of,
    open_text,
    read_line,
)
from afmrl_models.config import ColumnMapping, TableSource

_ROWS_SEARCHED_FOR_KEYS = 1000
_OVERSIZED = "field larger than field limit"  # the csv module's words


@dataclass(frozen=True)
class TableCatalog:
    """A table on disk whose mapped columns exist (see `open_table`)."""

    table: Path
    photos: Photos
    columns: ColumnMapping
    limit: int | None = None

    def count_rows(self) -> int:
        """How many rows `rows` yields."""
        if format_of(self.table) in (".parquet", SAVED_DATASET):
            total = arrow_tables.count_rows(self.table)
            return total if self.limit is None else min(total, self.limit)
        return sum(1 for _ in self.rows())

    def digest(self) -> str:
        """sha256 of the table's bytes and of the name and size of every photo it names."""
        digest = hashlib.sha256(b"" if self.limit is None else f"limit {self.limit}\n".encode())
        files = sorted(self.table.rglob("*")) if self.table.is_dir() else [self.table]
        for path in files:
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        if not self._names_photos():
            return digest.hexdigest()
        for raw in self.rows():
            if isinstance(raw.image, str):
                size = self.photos.size(raw.image)
                digest.update(f"{raw.image}\0{size}\n".encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def _names_photos(self) -> bool:
        return format_of(self.table) in TEXTS or arrow_tables.holds_paths(self.table, self.columns.image)

    def rows(self) -> Iterator[RawRow]:
        """All rows in the table's order, unreadable ones included (with their problem)."""
        return islice(_read_all(self.table, self.columns), self.limit)


def open_stated(source: TableSource, workdir: Path, limit: int | None = None) -> TableCatalog:
    """The table the profile states, fetched into `workdir` if it is behind a URL.

    Raises CatalogError for a URL that catalog.source.allow_remote does not allow.
    """
    from afmrl_models.catalog.remote import LocalOrRemotePhotos, RemotePhotos, fetch_table, is_allowed

    for key, place in (("path", source.path), ("images", source.images)):
        if isinstance(place, str) and not is_allowed(place, source.allow_remote):
            raise CatalogError(
                f"{place}: catalog.source.{key} is a URL that is below none of catalog.source.allow_remote: "
                f"{', '.join(source.allow_remote) or 'it is empty'}"
            )
    images, path = source.images, source.path
    if isinstance(path, str):
        images = path.rpartition("/")[0] if images is None else images
        path = fetch_table(path, workdir)
    if isinstance(images, str):
        table = find_table(path)
        check_columns(table, source.columns, table_columns(table))
        return TableCatalog(table, RemotePhotos(images, source.allow_remote), source.columns, limit)
    opened = open_table(path, images, source.columns, limit)
    if not source.allow_remote:
        return opened
    photos = LocalOrRemotePhotos(opened.photos, RemotePhotos(None, source.allow_remote))
    return replace(opened, photos=photos)


def open_table(
    path: Path, images: Path | None, columns: ColumnMapping, limit: int | None = None
) -> TableCatalog:
    """A table, or the one listings.* table of a folder; every column of the mapping must exist.

    Raises CatalogError naming the file, the missing column and the columns there are.
    """
    table = find_table(path)
    root = table.parent if images is None else images
    if not root.is_dir():
        raise CatalogError(f"{root}: no such folder of photos (catalog.source.images)")
    check_columns(table, columns, table_columns(table))
    return TableCatalog(table, PhotoFolder(root), columns, limit)


def table_columns(table: Path) -> list[str]:
    """The table's column names (.jsonl: the keys of its first 1,000 rows).

    Raises CatalogError for a file that cannot be read or has no header.
    """
    if format_of(table) not in TEXTS:
        return arrow_tables.column_names(table)
    try:
        if format_of(table) == ".jsonl":
            keys: dict[str, None] = {}
            for raw in islice(_read_jsonl(table, ""), _ROWS_SEARCHED_FOR_KEYS):
                keys.update(dict.fromkeys(raw.values))
            return list(keys)
        header = next(read_records(table, DELIMITERS[format_of(table)]), None)
    except (OSError, EOFError, UnicodeError, pa.ArrowException) as error:
        raise CatalogError(f"{table}: cannot be read: {error}") from None
    if header is None:
        raise CatalogError(f"{table}: the file is empty, it has no header")
    if header.problem is not None:
        raise CatalogError(f"{table}: line {header.line}: the header cannot be read: {header.problem}")
    return [name.strip() for name in header.fields]


def _mapped(columns: ColumnMapping) -> list[tuple[str, str]]:
    """(key in the profile, column name) of every column the mapping names."""
    single = ("listing_id", "product_id", "title", "description", "category", "seller", "image", "labels")
    named = [(key, getattr(columns, key)) for key in single if getattr(columns, key) is not None]
    return named + [(f"attributes[{i}]", name) for i, name in enumerate(columns.attributes)]


def check_columns(table: Path, columns: ColumnMapping, names: list[str]) -> None:
    """Every column the mapping names is there, once. Raises CatalogError with the columns there are."""
    if not names:
        if format_of(table) == ".jsonl" and not any(True for _ in _read_jsonl(table, "")):
            raise CatalogError(f"{table}: the catalog is empty: it has no rows")
        raise CatalogError(f"{table}: no columns can be read from it")
    for key, name in _mapped(columns):
        if names.count(name) == 1:
            continue
        place = f"(catalog.source.columns.{key})"
        if name in names:
            raise CatalogError(f"{table}: two columns are named {name!r} {place}")
        message = f"{table}: no column {name!r} {place}; its columns are: {', '.join(map(repr, names))}"
        if close := difflib.get_close_matches(name, names, n=1):
            message += f"; did you mean {close[0]!r}?"
        elif len(names) == 1 and any(mark in names[0] for mark in ";\t|,"):
            message += "; a .csv separates its fields by commas, a .tsv by tabs"
        if key in ("product_id", "category"):
            message += f"; set {key} to null if the catalog has none"
        raise CatalogError(message)


def _read_all(table: Path, columns: ColumnMapping) -> Iterator[RawRow]:
    try:
        yield from _read_rows(table, columns)
    except (OSError, EOFError, UnicodeError, pa.ArrowException) as error:  # gone, cut off, or no gzip at all
        raise CatalogError(f"{table}: cannot be read to its end: {error}") from None


def _read_rows(table: Path, columns: ColumnMapping) -> Iterator[RawRow]:
    if format_of(table) not in TEXTS:
        return _read_arrow(table, columns)
    if format_of(table) == ".jsonl":
        return _read_jsonl(table, columns.image)
    return _read_delimited(table, columns.image)


def _read_delimited(table: Path, image: str) -> Iterator[RawRow]:
    records = read_records(table, DELIMITERS[format_of(table)])
    header = [name.strip() for name in next(records).fields]
    for row, record in enumerate(records, start=1):
        if record.problem is not None:
            reason = Reason.FIELD_TOO_LONG if _OVERSIZED in record.problem else Reason.MALFORMED_ROW
            yield RawRow(row, problem=(reason, f"line {record.line}: {record.problem}"))
        elif len(record.fields) != len(header):
            detail = f"line {record.line}: {len(record.fields)} fields, the header has {len(header)}"
            values = dict(zip(header, record.fields, strict=False))
            yield RawRow(row, values, problem=(Reason.RAGGED_ROW, detail))
        else:
            values = dict(zip(header, record.fields, strict=True))
            yield RawRow(row, values, values[image].strip() or None)


def _read_jsonl(table: Path, image: str) -> Iterator[RawRow]:
    row = 0
    with open_text(table) as file:
        for line, text in enumerate(iter(lambda: read_line(file), ""), start=1):
            if not text.strip():
                continue
            row += 1
            try:
                values = json.loads(text)
            except (ValueError, RecursionError) as error:
                yield RawRow(row, problem=(Reason.MALFORMED_ROW, f"line {line}: not JSON: {error}"))
                continue
            if not isinstance(values, dict):
                detail = f"line {line}: a JSON object is expected, this is {type(values).__name__}"
                yield RawRow(row, problem=(Reason.MALFORMED_ROW, detail))
                continue
            stated = values.get(image)
            if isinstance(stated, str | None):
                yield RawRow(row, values, (stated or "").strip() or None)
            else:
                detail = f"line {line}: {image!r} is no text but {type(stated).__name__}"
                yield RawRow(row, values, problem=(Reason.MALFORMED_ROW, detail))


def _read_arrow(table: Path, columns: ColumnMapping) -> Iterator[RawRow]:
    wanted = list(dict.fromkeys(name for _, name in _mapped(columns)))
    row = 0
    try:
        for batch in arrow_tables.batches(table, wanted):
            for values in batch:
                row += 1
                yield RawRow(row, values, _arrow_image(table, columns.image, values.pop(columns.image)))
    except (OSError, pa.ArrowException) as error:
        raise CatalogError(f"{table}: cannot be read after row {row}: {error}") from None


def _arrow_image(table: Path, column: str, stated: Any) -> str | bytes | None:
    """A path, bytes, or HF datasets' {"bytes", "path"}; empty is none."""
    if isinstance(stated, dict):
        stated = stated.get("bytes") or stated.get("path")
    if stated is None or isinstance(stated, bytes):
        return stated  # no bytes at all is a photo that cannot be read, which the quarantine says
    if isinstance(stated, str):
        return stated.strip() or None
    raise CatalogError(
        f"{table}: column {column!r} (catalog.source.columns.image) holds {type(stated).__name__}, "
        "not paths or bytes of photos"
    )
