"""A shop of one's own: rows, photos, and the profile's part that reads them."""

import csv
import io
from pathlib import Path

from PIL import Image

from afmrl_models.catalog.schema import read_table
from afmrl_models.config import CatalogConfig, ColumnMapping, TableSource

COLUMNS = ["listing_id", "product_id", "title", "category", "image", "colour", "size"]
FILES = ["images", "listings.parquet", "quarantine.parquet", "quarantine_examples.parquet"]


def photo(colour: object = (200, 30, 30), mode: str = "RGB", kind: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (90, 60), colour).save(buffer, kind)  # type: ignore[arg-type]
    return buffer.getvalue()


def row(listing_id: str, **changed: str) -> dict[str, str]:
    good = {"product_id": "p1", "title": "Red bag", "category": "Bags", "image": "good.jpg", "colour": "red"}
    return {"listing_id": listing_id, **good, "size": "", **changed}


def write_catalog(folder: Path, rows: list[dict[str, str]]) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "good.jpg").write_bytes(photo())
    with (folder / "listings.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def config(folder: Path, share: float = 1.0, **columns: object) -> CatalogConfig:
    mapping = ColumnMapping.model_validate({"attributes": ["colour", "size"]} | columns)
    source = TableSource(kind="table", path=folder, columns=mapping)
    return CatalogConfig(source=source, image_size=28, max_quarantined_share=share, max_deleted_share=1)


def quarantined(out: Path) -> dict[str | None, str]:
    table = read_table(out / "quarantine.parquet")
    return dict(zip(table["listing_id"], table["reason"], strict=True))
