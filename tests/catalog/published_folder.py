"""Small benchmarks in their published formats, with painted photos."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from afmrl_models.config import CatalogConfig

HELD_OUT = {
    "test": {"query": "query.x", "gallery": "gallery.x"},
    "validation": {"query": "dev.x", "gallery": "gallery.x"},
}


def paint(folder: Path, *listing_ids: str, suffix: str = ".png") -> None:
    """One small photo an id."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, listing_id in enumerate(listing_ids):
        Image.new("RGB", (8, 8), (number * 7 % 256, 90, 200)).save(folder / f"{listing_id}{suffix}")


def line(listing_id: str, title: str, labels: Sequence[str] | None = None) -> str:
    """One line of Product1M."""
    fields = [listing_id, title, "https://a.example/1.jpg", f"https://b.example/{listing_id}.jpg"]
    return "#####".join(fields if labels is None else [*fields, "#;#".join(labels)])


def write_lines(path: Path, *lines: str) -> None:
    """A Product1M file."""
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_json(path: Path, entries: Mapping[str, object]) -> None:
    """An M5Product file, indented as its publishers' scripts write JSON."""
    path.write_text(json.dumps(entries, ensure_ascii=False, indent=2), encoding="utf-8")


def catalog_config(
    path: Path, kind: str, train: Sequence[str] = ("train.x",), **keys: object
) -> CatalogConfig:
    """A catalog of this kind; `held_out=True` adds the files of HELD_OUT."""
    held_out = HELD_OUT if keys.pop("held_out", False) else {}
    limit = keys.pop("limit", None)
    share = keys.pop("max_quarantined_share", 1.0)
    source = {"kind": kind, "path": path, "train": list(train), **held_out, **keys}
    return CatalogConfig.model_validate(
        {"source": source, "image_size": 28, "limit": limit, "max_quarantined_share": share}
    )
