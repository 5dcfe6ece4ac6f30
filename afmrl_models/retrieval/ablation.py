"""The ablation: Recall@k of each row with its interval, and its difference to the baseline."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.figure
import pandas as pd

from afmrl_models.config.profile import TaskName
from afmrl_models.errors import UserError
from afmrl_models.retrieval.significance import bootstrap_interval, paired_bootstrap

PerQuery = pd.DataFrame | Sequence[pd.DataFrame]


class AblationError(UserError):
    """The rows cannot be compared; the message names the row."""


def ablation_table(
    rows: Mapping[str, PerQuery],
    *,
    task: TaskName = "fine_grained",
    ks: Sequence[int] = (1, 5, 10),
    baseline: str | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """One row a system: row, seeds, queries, and for each k recall_at_k, its 95 % interval, its difference.

    rows: name -> the `per_query` frame of its Evaluation, or one frame for each training seed (a query's
    value is then the mean over them). Columns for each k: recall_at_k, _low, _high; _difference to
    `baseline` (the first row unless named), _difference_low, _difference_high, paired by query and resampled
    by product; NaN in the baseline's own row. Raises AblationError when rows were measured on different
    queries.
    """
    if not rows:
        raise AblationError("there are no rows to compare")
    baseline = next(iter(rows)) if baseline is None else baseline
    if baseline not in rows:
        raise AblationError(f"the baseline {baseline!r} is not among the rows {list(rows)}")
    columns = [f"recall_at_{k}" for k in ks]
    values = {name: _query_means(name, frames, task, columns) for name, frames in rows.items()}
    reference = values[baseline]
    products = reference["product_id"].tolist()
    table: list[dict[str, object]] = []
    for name, frame in values.items():
        if not frame.index.equals(reference.index):
            odd = sorted(set(frame.index) ^ set(reference.index))
            raise AblationError(
                f"row {name!r} and the baseline differ in {len(odd)} queries, the first is {odd[0]!r}"
            )
        frames = rows[name]
        line: dict[str, object] = {
            "row": name,
            "seeds": 1 if isinstance(frames, pd.DataFrame) else len(frames),
            "queries": len(frame),
        }
        for column in columns:
            interval = bootstrap_interval(frame[column].to_numpy(), products, bootstrap, seed)
            line[column] = float(frame[column].mean())
            line[f"{column}_low"], line[f"{column}_high"] = interval
            change = ("difference", "difference_low", "difference_high")
            if name == baseline:
                line |= {f"{column}_{part}": float("nan") for part in change}
            else:
                paired = paired_bootstrap(
                    frame[column].to_numpy(), reference[column].to_numpy(), products, bootstrap, seed
                )
                line |= {f"{column}_{part}": value for part, value in zip(change, paired, strict=True)}
        table.append(line)
    return pd.DataFrame(table)


def _query_means(name: str, frames: PerQuery, task: str, columns: list[str]) -> pd.DataFrame:
    """One seed's or the seeds' mean values, indexed by query id in sorted order, with product_id."""
    seeds = [frames] if isinstance(frames, pd.DataFrame) else list(frames)
    if not seeds:
        raise AblationError(f"row {name!r} has no evaluation")
    chosen: list[pd.DataFrame] = []
    for frame in seeds:
        part = frame[frame["task"] == task].set_index("query_id").sort_index()
        if part.empty:
            raise AblationError(f"row {name!r} has no queries of {task}")
        missing = [column for column in columns if column not in part]
        if missing:
            raise AblationError(f"row {name!r} lacks {missing}: it was evaluated with other ks")
        if chosen and not part.index.equals(chosen[0].index):
            raise AblationError(f"row {name!r}: its seeds were measured on different queries")
        chosen.append(part[["product_id", *columns]])
    means = sum((part[columns] for part in chosen[1:]), chosen[0][columns]) / len(chosen)
    return means.assign(product_id=chosen[0]["product_id"])


def ablation_plot(table: pd.DataFrame, path: Path) -> None:
    """Draw `ablation_table` as PNG or SVG: Recall@k with intervals, and differences to the baseline."""
    names = [str(name) for name in table.columns]
    columns = [name for name in names if name.removeprefix("recall_at_").isdigit()]
    figure = matplotlib.figure.Figure(figsize=(11, 1.6 + 0.55 * len(table)), layout="constrained")
    recall, change = figure.subplots(1, 2, sharey=True)
    places = range(len(table))
    for i, column in enumerate(columns):
        shift = (i - (len(columns) - 1) / 2) * 0.2
        heights = [place + shift for place in places]
        label = f"Recall@{column.removeprefix('recall_at_')}"
        for axis, centre in ((recall, column), (change, f"{column}_difference")):
            low, high = f"{centre}_low", f"{centre}_high"
            errors = [table[centre] - table[low], table[high] - table[centre]]
            axis.errorbar(table[centre], heights, xerr=errors, fmt="o", markersize=5, capsize=3, label=label)
    recall.set_yticks(list(places), table["row"].tolist())
    recall.invert_yaxis()
    recall.set_title("Recall@k", loc="left")
    change.axvline(0.0, color="0.4", linewidth=1)
    change.set_title("difference to the baseline, paired", loc="left")
    for axis in (recall, change):
        axis.grid(axis="x", color="0.9")
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    handles, labels = recall.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(columns), frameon=False)
    figure.suptitle(
        f"{table['queries'].iloc[0]} queries; bars are 95 % intervals over products",
        fontsize=10,
        x=0.01,
        ha="left",
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
