"""The ablation at a glance: the ladder of rows under its ceiling, and what each rung adds."""

from pathlib import Path
from typing import Any

import matplotlib.figure
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from afmrl_models.retrieval.ablation import Ablation
from afmrl_models.retrieval.ladder import GALLERY_TOO, ladder_rows

_INK, _QUIET, _FAINT = "#1f2937", "#6b7280", "#e5e7eb"
_LADDER, _BESIDE, _CEILING = "#2563eb", "#94a3b8", "#b45309"
_VERDICT = {"above": "#15803d", "below": "#b91c1c", "unclear": "#6b7280"}
_ORACLE = "oracle"
_GAP = 0.7
_POINTS, _RELATIVE = 1.08, 1.25  # where the columns of numbers end, in widths of the panel


def ablation_plot(ablation: Ablation, path: Path, task: str | None = None) -> None:
    """Draw one task of the ablation (its first unless named) at its first k as PNG or SVG.

    Left: each row's mean, 95 % interval and single seeds; the oracle's mean as a dashed line. Right: what
    each rung adds, green or red where its interval excludes zero.
    """
    task = task or ablation.tasks[0]
    metric = f"recall_at_{ablation.ks[0]}"
    rows = ablation.rows[ablation.rows["task"] == task].set_index("row")
    rungs = ablation.rungs[(ablation.rungs["task"] == task) & (ablation.rungs["metric"] == metric)]
    seeds = ablation.by_seed[ablation.by_seed["task"] == task]
    row_places, rung_places = _row_places(rows.index.tolist()), _rung_places(rungs)
    tallest = max(max(row_places.values()), max(rung_places.values(), default=0.0))
    figure = matplotlib.figure.Figure(figsize=(13, 2.2 + 0.42 * tallest), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.05])
    _draw_rows(left, rows, seeds, row_places, metric)
    _draw_rungs(right, rungs, rung_places)
    left.set_title(f"Recall@{ablation.ks[0]} of each row", loc="left", color=_INK, fontweight="bold")
    right.set_title("what each rung adds", loc="left", color=_INK, fontweight="bold")
    count = int(rows["seeds"].max())
    several = count > 1
    over = f"products and {count} seeds; small dots: single seeds" if several else "products; one seed"
    figure.suptitle(
        f"{task}  ·  {int(rows['queries'].iloc[0]):,} queries  ·  lines: 95 % intervals over {over}",
        x=0.01, ha="left", fontsize=10, color=_QUIET,
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def _row_places(names: list[str]) -> dict[str, float]:
    """Heights from the top: the ladder, what stands beside it, the oracle's rows."""
    ladder = ladder_rows(names)
    oracle = [name for name in names if name.split("_")[0] == _ORACLE]
    beside = [name for name in names if name not in ladder and name not in oracle]
    return _places([ladder, beside, oracle])


def _rung_places(rungs: pd.DataFrame) -> dict[str, float]:
    """Heights from the top: the rungs, the whole method, questions beside it but for those of the gallery."""
    drawn = rungs[rungs["adds"] != GALLERY_TOO]
    return _places([drawn.loc[drawn["kind"] == kind, "rung"].tolist() for kind in ("rung", "all", "beside")])


def _places(groups: list[list[str]]) -> dict[str, float]:
    places: dict[str, float] = {}
    height = 0.0
    for group in groups:
        for name in group:
            places[name] = height
            height += 1
        height += _GAP if group else 0.0
    return places


def _draw_rows(
    axis: Axes, rows: pd.DataFrame, seeds: pd.DataFrame, places: dict[str, float], metric: str
) -> None:
    lines: dict[Any, Any] = rows.to_dict("index")
    ladder = ladder_rows(list(places))
    steps = [lines[name][metric] for name in ladder]
    axis.plot(steps, [places[name] for name in ladder], color=_LADDER, alpha=0.25, zorder=1)
    for name, height in places.items():
        line, colour = lines[name], _row_colour(name, ladder)
        value = line[metric]
        _interval(axis, height, value, line[f"{metric}_low"], line[f"{metric}_high"], colour)
        _seed_dots(axis, height, seeds.loc[seeds["row"] == name, metric].tolist(), colour)
        axis.annotate(
            f"{value:.3f}", (value, height), xytext=(0, 6), textcoords="offset points",
            ha="center", fontsize=9, color=colour, fontweight="bold",
        )  # fmt: skip
    if _ORACLE in places:
        ceiling = lines[_ORACLE][metric]
        below_the_ladder = places[ladder[-1]] + 0.45 if ladder else -0.45
        axis.axvline(ceiling, color=_CEILING, linestyle=(0, (4, 3)), linewidth=1, zorder=0)
        axis.annotate(
            "with the shop's \ntrue attributes ", (ceiling, below_the_ladder),
            va="top", ha="right", fontsize=8, color=_CEILING,
        )  # fmt: skip
    _frame(axis, list(places.values()), list(places))
    for label, name in zip(axis.get_yticklabels(), places, strict=True):
        label.set_color(_INK if name in ladder else _row_colour(name, ladder))
        label.set_fontweight("bold" if name in ladder else "normal")
    axis.margins(x=0.08)


def _row_colour(name: str, ladder: list[str]) -> str:
    return _LADDER if name in ladder else _CEILING if name.split("_")[0] == _ORACLE else _BESIDE


def _draw_rungs(axis: Axes, rungs: pd.DataFrame, places: dict[str, float]) -> None:
    lines: dict[Any, Any] = rungs.set_index("rung").to_dict("index")
    axis.axvline(0.0, color=_INK, linewidth=1, zorder=0)
    for name, height in places.items():
        line = lines[name]
        colour = _VERDICT[line["verdict"]]
        _interval(axis, height, 100 * line["difference"], 100 * line["low"], 100 * line["high"], colour)
        _seed_dots(axis, height, [100 * gain for gain in line["by_seed"]], colour)
        relative = "" if pd.isna(line["relative"]) else f"{100 * line['relative']:+.1f} %"
        for text, x in ((f"{100 * line['difference']:+.1f}", _POINTS), (relative, _RELATIVE)):
            axis.annotate(
                text, (x, height), xycoords=("axes fraction", "data"),
                va="center", ha="right", fontsize=9, color=colour,
            )  # fmt: skip
    for text, x in (("points", _POINTS), ("relative", _RELATIVE)):
        axis.annotate(text, (x, 1.0), xycoords="axes fraction", ha="right", fontsize=8, color=_QUIET)
    _frame(axis, list(places.values()), [f"{lines[name]['adds']}\n{name}" for name in places])
    for label in axis.get_yticklabels():
        label.set_fontsize(8)
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:+g}" if value else "0"))
    axis.margins(x=0.08)


def _seed_dots(axis: Axes, height: float, values: list[float], colour: str) -> None:
    if len(values) > 1:
        axis.plot(values, [height + 0.24] * len(values), "o", color=colour, markersize=3, alpha=0.7)


def _interval(axis: Axes, height: float, value: Any, low: Any, high: Any, colour: str) -> None:
    axis.plot([low, high], [height, height], color=colour, linewidth=2.5, solid_capstyle="round", alpha=0.45)
    axis.plot([value], [height], "o", color=colour, markersize=8, markeredgecolor="white", zorder=3)


def _frame(axis: Axes, heights: list[float], labels: list[str]) -> None:
    axis.set_yticks(heights, labels)
    axis.set_ylim(max(heights, default=0.0) + 0.6, -0.7)
    axis.grid(axis="x", color=_FAINT)
    axis.set_axisbelow(True)
    axis.tick_params(length=0, colors=_QUIET)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.spines["bottom"].set_color(_FAINT)
