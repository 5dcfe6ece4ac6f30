"""The ablation in words: a summary for a terminal, and every table for the documentation."""

from collections.abc import Mapping

import pandas as pd

from afmrl_models.retrieval.ablation import Ablation
from afmrl_models.retrieval.ladder import ladder_rows

_CEILING = "oracle"
_SHOWN_SEEDS = 5


def summary(ablation: Ablation, left_out: Mapping[str, str] | None = None) -> str:
    """Markdown of at most 110 columns: the ladder's rows and the oracle, then a line a rung.

    left_out: row -> why it was not measured.
    """
    task, metric = ablation.tasks[0], f"recall_at_{ablation.ks[0]}"
    rows = ablation.rows[ablation.rows["task"] == task]
    names = ladder_rows(rows["row"].tolist())
    names += [name for name in rows["row"] if name == _CEILING or not names]
    rungs = ablation.rungs[(ablation.rungs["task"] == task) & (ablation.rungs["metric"] == metric)]
    rungs = rungs[rungs["kind"].isin(["rung", "all"])]
    parts = [
        f"{task}: {_measured_on(ablation, task)}",
        _rows_table(rows.set_index("row").loc[names].reset_index(), ablation.ks),
    ]
    if len(rungs):
        parts.append(_rungs_table(rungs, several=False))
    parts += [f"{row} was left out: {reason}" for row, reason in (left_out or {}).items()]
    return "\n\n".join(parts) + "\n"


def evidence(
    ablation: Ablation, about: Mapping[str, object] | None = None, left_out: Mapping[str, str] | None = None
) -> str:
    """Markdown of every table, to copy into the documentation.

    about: name -> value of what the numbers stand on (profile, revision, …), a line each. left_out: row ->
    why it was not measured.
    """
    parts = ["# The ladder"]
    if about:
        parts.append("\n".join(f"- {name}: `{value}`" for name, value in about.items()))
    parts += [f"`{row}` was left out: {reason}." for row, reason in (left_out or {}).items()]
    for task in ablation.tasks:
        rows = ablation.rows[ablation.rows["task"] == task]
        parts += [f"## {task}", _measured_on(ablation, task), _rows_table(rows, ablation.ks)]
        seeds = ablation.by_seed[ablation.by_seed["task"] == task]
        if seeds["seed"].nunique() > 1:
            parts += ["### Each seed", _seeds_table(seeds, ablation.ks)]
        for k in ablation.ks:
            chosen = (ablation.rungs["task"] == task) & (ablation.rungs["metric"] == f"recall_at_{k}")
            if chosen.any():
                parts += [f"### What each rung adds to Recall@{k}", _rungs_table(ablation.rungs[chosen])]
    parts += ["## All tasks", headlines_table(ablation)]
    return "\n\n".join(parts) + "\n"


def _measured_on(ablation: Ablation, task: str) -> str:
    rows = ablation.rows[ablation.rows["task"] == task]
    low, high = rows["seeds"].min(), rows["seeds"].max()
    seeds = f"{low}" if low == high else f"{low} to {high}"
    drawn = "products and seeds" if high > 1 else "products, not over seeds"
    return f"{rows['queries'].iloc[0]} queries, seeds: {seeds}; brackets: 95 % intervals over {drawn}."


def _rows_table(rows: pd.DataFrame, ks: tuple[int, ...]) -> str:
    shown = rows[["row"]].copy()
    for k in ks:
        name = f"recall_at_{k}"
        shown[f"Recall@{k} [95 %]"] = [
            f"{value:.3f} [{low:.3f}, {high:.3f}]"
            for value, low, high in zip(rows[name], rows[f"{name}_low"], rows[f"{name}_high"], strict=True)
        ]
    return _markdown(shown)


def _rungs_table(rungs: pd.DataFrame, several: bool = True) -> str:
    """several: name both rows and every seed; else one short line a rung."""
    shown = pd.DataFrame({"adds": rungs["adds"]})
    if several:
        shown["row - over"] = rungs["rung"]
    k = str(rungs["metric"].iloc[0]).removeprefix("recall_at_")
    shown[f"gain in Recall@{k} [95 %]"] = [
        f"{line['difference']:+.3f} [{line['low']:+.3f}, {line['high']:+.3f}]"
        for line in rungs.to_dict("records")
    ]
    shown["relative"] = ["" if pd.isna(value) else f"{100 * value:+.1f} %" for value in rungs["relative"]]
    if several:
        shown["relative [95 %]"] = [
            ""
            if pd.isna(line["relative_low"])
            else f"{100 * line['relative_low']:+.1f} to {100 * line['relative_high']:+.1f} %"
            for line in rungs.to_dict("records")
        ]
    if rungs["by_seed"].map(len).max() > 1:
        shown["by seed"] = [_seeds_of(values, _SHOWN_SEEDS if several else 3) for values in rungs["by_seed"]]
    shown["zero"] = rungs["verdict"].map(
        {"above": "excluded", "below": "excluded: worse", "unclear": "inside"}
    )
    return _markdown(shown)


def _seeds_of(values: list[float], shown: int) -> str:
    if len(values) > shown:
        return f"{min(values):+.3f} … {max(values):+.3f}"
    return " ".join(f"{value:+.3f}" for value in values)


def _seeds_table(seeds: pd.DataFrame, ks: tuple[int, ...]) -> str:
    metric = f"recall_at_{ks[0]}"
    shown = seeds.pivot(index="row", columns="seed", values=metric).loc[seeds["row"].unique()]
    shown.columns = [f"Recall@{ks[0]}, seed {seed}" for seed in shown.columns]
    return _markdown(shown.map(lambda value: "" if pd.isna(value) else f"{value:.3f}").reset_index())


def headlines_table(ablation: Ablation) -> str:
    """A row a line, a task a column; ± is half the interval's width."""
    headlines = ablation.headlines
    cells = headlines.assign(
        column=headlines["task"] + " " + headlines["metric"].str.replace("_at_", "@"),
        cell=[
            f"{line['value']:.3f}"
            + ("" if pd.isna(line["low"]) else f" ± {(line['high'] - line['low']) / 2:.3f}")
            for line in headlines.to_dict("records")
        ],
    )
    shown = cells.pivot(index="row", columns="column", values="cell").fillna("")
    return _markdown(
        shown.loc[headlines["row"].unique(), cells["column"].unique()].rename_axis(columns=None).reset_index()
    )


def _markdown(table: pd.DataFrame) -> str:
    return str(table.to_markdown(index=False, disable_numparse=True))
