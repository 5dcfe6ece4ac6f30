"""Contact sheets: the best and the worst queries of a task, with the photos and titles of what they found."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from afmrl_models.catalog.inline_photo import inline_photo
from afmrl_models.config.tasks import TaskName
from afmrl_models.retrieval.evaluation import Evaluation
from afmrl_models.retrieval.pages import templates

RIGHT, WRONG, NEUTRAL = "#2a9d4a", "#d1495b", "#bbbbbb"
_HEADINGS = {"worst": "Worst queries", "best": "Best queries"}
_MARGIN, _FRAME, _TEXT_LINES, _FONT_SIZE = 10, 4, 3, 12
_LONGEST_TITLE = 200


class Photos(Protocol):
    """Where photos come from; an `ImageStore` is one."""

    def get(self, listing_id: str) -> Image.Image: ...


@dataclass(frozen=True)
class Found:
    """One result of a query."""

    listing_id: str
    title: str
    rank: int
    score: float
    relevant: bool


@dataclass(frozen=True)
class SheetRow:
    """A query and its best results, best first."""

    query_id: str
    title: str
    kind: Literal["best", "worst"]
    found: tuple[Found, ...]


def sheet_rows(
    evaluation: Evaluation,
    listings: pd.DataFrame,
    task: TaskName | None = None,
    *,
    best: int = 4,
    worst: int = 8,
    top: int = 5,
) -> list[SheetRow]:
    """The worst queries, then the best ones of a task (null: the first evaluated), with their `top` results.

    A query is as good as its reciprocal rank. Among equals, the score decides: a wrong first result with a
    high score is worse, a right one with a high score better; then the query id. No query is in both parts.
    Raises ValueError when the task was not evaluated.
    """
    if task is None and not evaluation.per_query.empty:
        task = evaluation.per_query["task"].iloc[0]
    scores = evaluation.per_query[evaluation.per_query["task"] == task]
    ranked = evaluation.ranked[evaluation.ranked["task"] == task]
    if scores.empty:
        if task is None:
            raise ValueError(f"no task was evaluated: {evaluation.left_out}")
        raise ValueError(f"{task} has no queries: {evaluation.left_out.get(task, 'it was not evaluated')}")
    names = [str(name) for name in scores.columns]
    deepest = max(int(name.removeprefix("mrr_at_")) for name in names if name.startswith("mrr_at_"))
    first = ranked[ranked["rank"] == 1].set_index("query_id")
    order = pd.DataFrame(
        {
            "query_id": scores["query_id"],
            "quality": scores[f"mrr_at_{deepest}"],
            "confidence": scores["query_id"].map(first["score"].where(first["relevant"], -first["score"])),
        }
    ).sort_values(["quality", "confidence", "query_id"])
    worst_ids = order["query_id"].head(worst).tolist()
    best_ids = order["query_id"].iloc[len(worst_ids) :].tail(best).tolist()[::-1]
    titles = dict(zip(listings["listing_id"], listings["title"], strict=True))
    shown = ranked[(ranked["rank"] <= top) & ranked["query_id"].isin([*worst_ids, *best_ids])]
    found: dict[str, list[Found]] = {}
    for row in shown.sort_values(["query_id", "rank"]).to_dict("records"):
        result = Found(
            row["listing_id"],
            _short(titles[row["listing_id"]]),
            int(row["rank"]),
            float(row["score"]),
            bool(row["relevant"]),
        )
        found.setdefault(row["query_id"], []).append(result)
    kinds: list[tuple[Literal["best", "worst"], list[str]]] = [("worst", worst_ids), ("best", best_ids)]
    return [
        SheetRow(query, _short(titles[query]), kind, tuple(found.get(query, ())))
        for kind, queries in kinds
        for query in queries
    ]


def contact_sheet(rows: Sequence[SheetRow], photos: Photos, *, cell: int = 128) -> Image.Image:
    """One RGB picture, a row a query: its photo (grey frame), then its results (green right, red wrong).

    cell: edge of a photo in pixels. Letters that Pillow's own font lacks (Chinese, Thai, ...) are drawn as
    boxes; the HTML sheet shows them. Raises ValueError for no rows.
    """
    if not rows:
        raise ValueError("a contact sheet needs at least one query")
    font = ImageFont.load_default(_FONT_SIZE)
    line = _FONT_SIZE + 3
    height = cell + 2 * _FRAME + line * (_TEXT_LINES + 1) + _MARGIN
    width = cell + 2 * _FRAME + _MARGIN
    columns = 1 + max(len(row.found) for row in rows)
    sheet = Image.new("RGB", (columns * width + 3 * _MARGIN, len(rows) * height + _MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    for i, row in enumerate(rows):
        top = _MARGIN + i * height
        cells = [(row.query_id, f"{row.kind} query", row.title, NEUTRAL)] + [
            (
                found.listing_id,
                f"{found.rank}  {found.score:.3f}  {'right' if found.relevant else 'wrong'}",
                found.title,
                RIGHT if found.relevant else WRONG,
            )
            for found in row.found
        ]
        for column, (listing_id, caption, title, colour) in enumerate(cells):
            left = _MARGIN + column * width + (_MARGIN if column else 0)
            edge = cell + 2 * _FRAME
            draw.rectangle((left, top, left + edge - 1, top + edge - 1), fill=colour)
            photo = photos.get(listing_id).convert("RGB").resize((cell, cell), Image.Resampling.LANCZOS)
            sheet.paste(photo, (left + _FRAME, top + _FRAME))
            draw.text((left, top + edge + 1), caption, fill=colour if column else "#555555", font=font)
            for number, words in enumerate(_wrapped(title, font, edge), start=1):
                draw.text((left, top + edge + 1 + number * line), words, fill="#222222", font=font)
    return sheet


def contact_sheet_html(
    rows: Sequence[SheetRow], photos: Photos, title: str = "Best and worst queries"
) -> str:
    """The same as one HTML page that needs no other file; titles are escaped, photos are inside."""
    parts = [(heading, [row for row in rows if row.kind == kind]) for kind, heading in _HEADINGS.items()]
    return (
        templates("afmrl_models.retrieval")
        .get_template("contact_sheet.html.jinja")
        .render(title=title, parts=parts, photo=lambda listing_id: inline_photo(photos.get(listing_id)))
    )


def _short(title: str) -> str:
    text = " ".join(title.split())
    return text if len(text) <= _LONGEST_TITLE else text[: _LONGEST_TITLE - 1] + "…"


def _wrapped(
    text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int, lines: int = _TEXT_LINES
) -> list[str]:
    """The first lines of a text that fit into `width` pixels, broken between words where there are any."""
    wrapped: list[str] = []
    rest = text
    while rest and len(wrapped) < lines:
        fits = len(rest)
        while fits > 1 and font.getlength(rest[:fits]) > width:
            fits -= 1
        space = rest.rfind(" ", 0, fits + 1)
        cut = fits if fits == len(rest) or space <= 0 else space
        wrapped.append(rest[:cut])
        rest = rest[cut:].lstrip()
    if rest:
        wrapped[-1] = wrapped[-1][:-1] + "…"
    return wrapped
