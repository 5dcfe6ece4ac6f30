"""What a person sees on an asset: tables, pictures, schemas, files, links."""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from afmrl_dagster.resources import mlflow_ui

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from matplotlib.figure import Figure
    from PIL import Image

    from afmrl_models.catalog.changes import Changes
    from afmrl_models.catalog.images import ImageStore
    from afmrl_models.registry.tracking import RunHandle

PICTURE_BYTES = 250_000  # at most; every page of the asset's history loads it
_QUALITIES = (85, 70, 55)
_THUMBNAIL = 96


def table(frame: "pd.DataFrame", rows: int = 20) -> dg.MetadataValue:
    """The first rows as a Markdown table; cells of catalog text cannot break it."""

    lines = _head(frame)
    lines += [
        "| " + " | ".join(_cell(v) for v in row) + " |" for row in frame.head(rows).itertuples(index=False)
    ]
    if len(frame) > rows:
        lines.append(f"\n{len(frame) - rows} more rows")
    return dg.MetadataValue.md("\n".join(lines))


def photo_table(frame: "pd.DataFrame", photo: str) -> dg.MetadataValue:
    """All rows as a Markdown table whose column `photo` holds PNGs or JPEGs, or None."""
    lines = _head(frame)
    for row in frame.to_dict("records"):
        cells = [
            _cell(value) if name != photo else "" if value is None else _inline(value, "photo")
            for name, value in row.items()
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return dg.MetadataValue.md("\n".join(lines))


def beside_photos(frame: "pd.DataFrame", images: "ImageStore", rows: int = 10) -> dg.MetadataValue:
    """The first rows of a table with a column `listing_id`, each beside its photo."""
    few = frame.head(rows).copy()
    if "listing_id" not in frame:
        return table(few)
    ids = few["listing_id"].tolist()
    few.insert(0, "photo", [_thumbnail(images.get(i)) if i in images else None for i in ids])
    return photo_table(few, "photo")


def texts_beside_photos(
    texts: "pd.DataFrame", listings: "pd.DataFrame", images: "ImageStore", rows: int = 12
) -> dg.MetadataValue:
    """The first attribute texts of a table, each beside its listing's title and photo."""
    shown = texts.merge(listings[["listing_id", "title"]], on="listing_id")
    return beside_photos(shown[["listing_id", "title", "attributes_text", "valid"]], images, rows)


def _head(frame: "pd.DataFrame") -> list[str]:
    return [
        "| " + " | ".join(_cell(name) for name in frame.columns) + " |",
        "|" + " --- |" * len(frame.columns),
    ]


def _cell(value: object) -> str:
    text = f"{value:.4f}" if isinstance(value, float) else str(value)
    text = text.replace("\n", " ")[:200].replace("&", "&amp;").replace("<", "&lt;")
    return "".join(f"\\{letter}" if letter in "|[]`\\" else letter for letter in text)


def picture(image: "Image.Image | Figure", alt: str) -> dg.MetadataValue:
    """A picture or a matplotlib figure, inside the metadata itself, of at most PICTURE_BYTES."""
    if not hasattr(image, "savefig"):
        return dg.MetadataValue.md(_inline(_small_jpeg(image), alt))
    buffer = io.BytesIO()
    image.savefig(buffer, format="png", dpi=80, bbox_inches="tight")
    return _png(buffer.getvalue(), alt)


def picture_file(path: Path, alt: str) -> dg.MetadataValue:
    """A PNG on disk, inside the metadata itself, of at most PICTURE_BYTES."""
    return _png(path.read_bytes(), alt)


def _png(data: bytes, alt: str) -> dg.MetadataValue:
    from PIL import Image

    if len(data) > PICTURE_BYTES:
        data = _small_jpeg(Image.open(io.BytesIO(data)))
    return dg.MetadataValue.md(_inline(data, alt))


def _small_jpeg(image: "Image.Image") -> bytes:
    """The best quality that fits, then ever smaller."""
    image = image.convert("RGB")
    while True:
        for quality in _QUALITIES:
            buffer = io.BytesIO()
            image.save(buffer, format="JPEG", quality=quality)
            if buffer.tell() <= PICTURE_BYTES:
                return buffer.getvalue()
        image = image.resize((max(1, image.width * 3 // 4), max(1, image.height * 3 // 4)))


def _thumbnail(photo: "Image.Image") -> bytes:
    small = photo.convert("RGB")
    small.thumbnail((_THUMBNAIL, _THUMBNAIL))
    buffer = io.BytesIO()
    small.save(buffer, format="JPEG", quality=80)
    return buffer.getvalue()


def _inline(data: bytes, alt: str) -> str:
    kind = "jpeg" if data.startswith(b"\xff\xd8") else "png"
    return f"![{alt}](data:image/{kind};base64,{base64.b64encode(data).decode()})"


def training_curves(history: "pd.DataFrame", *shown: str) -> dg.MetadataValue:
    """What a training logged over its steps (columns step and `shown`), a panel each.

    The line is a running mean: kinds of batches differ.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6 * len(shown), 3), layout="constrained")
    for axis, name in zip(figure.subplots(1, len(shown), squeeze=False).flat, shown, strict=True):
        axis.plot(history["step"], history[name], ".", color="0.7")
        axis.plot(history["step"], history[name].rolling(7, min_periods=1, center=True).mean())
        axis.set_xlabel("step")
        axis.set_ylabel(name.replace("_", " "))
        axis.spines[["top", "right"]].set_visible(False)
    return picture(figure, f"{' and '.join(shown)} over the steps")


def mlflow_link(run: "RunHandle") -> dg.MetadataValue:
    """The run's page in MLflow: of the server that the profile names, else of the one `afmrl ui` starts."""
    served = run.tracking.uri.startswith(("http://", "https://"))
    return dg.MetadataValue.url(run.url(run.tracking.uri if served else mlflow_ui()))


def settings(given: Mapping[str, tuple[Any, Any]]) -> dict[str, dg.MetadataValue]:
    """What a run has set otherwise than the profile: by key, its value and the profile's."""
    if not given:
        return {}
    import pandas as pd

    rows = [(name, json.dumps(ours), json.dumps(theirs)) for name, (ours, theirs) in given.items()]
    frame = pd.DataFrame(rows, columns=["setting", "this run", "the profile"])
    return {"settings_of_this_run": table(frame, len(rows))}


def changes(found: "Changes", seconds: float) -> dict[str, int | float]:
    """Listings by what became of them since the last run, and how long this one took."""
    return {f"{kind}_listings": count for kind, count in asdict(found).items()} | {"seconds": seconds}


def stored_table(path: Path, place: Path | None = None) -> dict[str, Any]:
    """A Parquet table's rows and columns, as the file says, and where it lies (or is to lie: `place`)."""
    import pyarrow.parquet as pq

    stored = pq.read_metadata(path)
    return {
        "dagster/row_count": stored.num_rows,
        "dagster/column_schema": column_schema(stored.schema.to_arrow_schema()),
        "file": dg.MetadataValue.path(place or path),
    }


def column_schema(schema: "pa.Schema") -> dg.TableSchema:
    """A pyarrow schema as Dagster shows it, with the columns' descriptions where it holds them."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                field.name,
                str(field.type),
                description=(field.metadata or {}).get(b"description", b"").decode() or None,
                constraints=dg.TableColumnConstraints(nullable=field.nullable),
            )
            for field in schema
        ]
    )


def stated_columns(names: Sequence[str], taken_for: dict[str, str]) -> dg.TableSchema:
    """The columns of a catalog as it came, and what the profile takes them for."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(name, "as stated", description=taken_for.get(name, "not used")) for name in names
        ]
    )
