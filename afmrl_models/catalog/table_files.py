"""Files that hold tables: which there are, what is in them, and how their text is read."""

import io
from pathlib import Path
from typing import TextIO

import pyarrow as pa

from afmrl_models.catalog.errors import CatalogError

DELIMITERS = {".csv": ",", ".tsv": "\t"}
TEXTS = (".csv", ".tsv", ".jsonl")
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
SUFFIXES = (*TEXTS, *(text + packed for text in TEXTS for packed in COMPRESSIONS), ".parquet")
SAVED_DATASET = "datasets"
_STATE, _SPLITS = "state.json", "dataset_dict.json"
MAX_LINE_CHARACTERS = 16 * 2**20


def format_of(table: Path) -> str:
    """`.csv`, `.tsv`, `.jsonl`, `.parquet`, or `datasets` for a folder of save_to_disk; "" for no table."""
    if table.is_dir():
        return SAVED_DATASET
    name = table.name.lower()
    name = name.removesuffix(".gz").removesuffix(".zst") if name.endswith(SUFFIXES) else name
    return next((suffix for suffix in (*TEXTS, ".parquet") if name.endswith(suffix)), "")


def find_table(path: Path) -> Path:
    """The table at `path`: a file, the one listings.* table of a folder, or a folder of save_to_disk.

    Raises CatalogError naming what is there.
    """
    if path.is_dir():
        if (path / _STATE).is_file():
            return path
        if (path / _SPLITS).is_file():
            splits = ", ".join(sorted(p.name for p in path.iterdir() if p.is_dir()))
            raise CatalogError(f"{path}: a dataset of several splits; name the folder of one of: {splits}")
        found = sorted(p for p in path.glob("listings.*") if p.is_file() and format_of(p))
        if len(found) != 1:
            names = ", ".join(p.name for p in found) or "none"
            raise CatalogError(
                f"{path}: a catalog folder holds exactly one of "
                f"{', '.join('listings' + suffix for suffix in SUFFIXES)}; found: {names}"
            )
        return found[0]
    if not path.exists():
        raise CatalogError(f"{path}: no such file or folder (catalog.source.path)")
    if not format_of(path):
        raise CatalogError(f"{path}: a table's name ends in one of {', '.join(SUFFIXES)}")
    return path


def open_text(table: Path) -> TextIO:
    """The text of a table, decompressed by its name; UTF-8, or UTF-16 where its byte order mark says so.

    Bytes that are not UTF-8 arrive as surrogates (PEP 383). Line ends are left as they are.
    """
    packed = COMPRESSIONS.get(table.suffix.lower())
    file = pa.input_stream(str(table), compression=packed)
    with pa.input_stream(str(table), compression=packed) as beginning:
        wide = beginning.read(2) in (b"\xff\xfe", b"\xfe\xff")
    if wide:
        return io.TextIOWrapper(file, encoding="utf-16", newline="")
    return io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")


def read_line(file: TextIO) -> str:
    """The next line, "" at the end; of a line over 16 Mi characters the rest is skipped."""
    line = file.readline(MAX_LINE_CHARACTERS)
    if len(line) == MAX_LINE_CHARACTERS and not line.endswith("\n"):
        while rest := file.readline(MAX_LINE_CHARACTERS):
            if rest.endswith("\n"):
                break
    return line
