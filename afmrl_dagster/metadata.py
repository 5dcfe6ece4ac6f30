"""What a person sees on an asset: tables, pictures, schemas, links."""

import base64
import io
from dataclasses import asdict
from typing import TYPE_CHECKING

import dagster as dg

from afmrl_dagster.resources import mlflow_ui

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    import pyarrow as pa
    from matplotlib.figure import Figure
    from PIL import Image

    from afmrl_models.catalog.changes import Changes
    from afmrl_models.registry.tracking import RunHandle


def table(frame: "pd.DataFrame", rows: int = 20) -> dg.MetadataValue:
    """The first rows as a Markdown table; cells of catalog text cannot break it."""

    lines = ["| " + " | ".join(map(str, frame.columns)) + " |", "|" + " --- |" * len(frame.columns)]
    lines += [
        "| " + " | ".join(_cell(v) for v in row) + " |" for row in frame.head(rows).itertuples(index=False)
    ]
    if len(frame) > rows:
        lines.append(f"\n{len(frame) - rows} more rows")
    return dg.MetadataValue.md("\n".join(lines))


def photo_table(frame: "pd.DataFrame", photo: str) -> dg.MetadataValue:
    """All rows as a Markdown table whose column `photo` holds PNGs, or None."""
    lines = ["| " + " | ".join(map(str, frame.columns)) + " |", "|" + " --- |" * len(frame.columns)]
    for row in frame.to_dict("records"):
        cells = [
            _cell(value)
            if name != photo
            else ""
            if value is None
            else f"![photo](data:image/png;base64,{base64.b64encode(value).decode()})"
            for name, value in row.items()
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return dg.MetadataValue.md("\n".join(lines))


def _cell(value: object) -> str:
    text = f"{value:.4f}" if isinstance(value, float) else str(value)
    text = text.replace("\n", " ")[:200].replace("&", "&amp;").replace("<", "&lt;")
    return "".join(f"\\{letter}" if letter in "|[]`\\" else letter for letter in text)


def picture(image: "Image.Image | Figure", alt: str) -> dg.MetadataValue:
    """A picture or a matplotlib figure, inside the metadata itself."""
    buffer = io.BytesIO()
    if hasattr(image, "savefig"):
        image.savefig(buffer, format="png", dpi=80, bbox_inches="tight")
        kind = "png"
    else:
        image.convert("RGB").save(buffer, format="JPEG", quality=80)
        kind = "jpeg"
    data = base64.b64encode(buffer.getvalue()).decode()
    return dg.MetadataValue.md(f"![{alt}](data:image/{kind};base64,{data})")


def loss_curve(history: "pd.DataFrame") -> dg.MetadataValue:
    """Loss over steps (columns step, loss); the line is a running mean: kinds of batches differ."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3), layout="constrained")
    axis = figure.subplots()
    axis.plot(history["step"], history["loss"], ".", color="0.7")
    axis.plot(history["step"], history["loss"].rolling(7, min_periods=1, center=True).mean())
    axis.set_xlabel("step")
    axis.set_ylabel("loss")
    axis.spines[["top", "right"]].set_visible(False)
    return picture(figure, "loss over the steps")


def picture_file(path: "Path", alt: str) -> dg.MetadataValue:
    """A PNG on disk, inside the metadata itself."""
    return dg.MetadataValue.md(
        f"![{alt}](data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()})"
    )


def mlflow_link(run: "RunHandle") -> dg.MetadataValue:
    """The run's page in the MLflow UI."""
    return dg.MetadataValue.url(f"{mlflow_ui()}/#/experiments/{run.experiment_id}/runs/{run.run_id}")


def changes(found: "Changes", seconds: float) -> dict[str, int | float]:
    """Listings by what became of them since the last run, and how long this one took."""
    return {f"{kind}_listings": count for kind, count in asdict(found).items()} | {"seconds": seconds}


def column_schema(schema: "pa.Schema") -> dg.TableSchema:
    """A pyarrow schema as Dagster shows it."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                field.name, str(field.type), constraints=dg.TableColumnConstraints(nullable=field.nullable)
            )
            for field in schema
        ]
    )
