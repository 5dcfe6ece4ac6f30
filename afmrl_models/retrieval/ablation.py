"""The ablation: every row with its interval, and what each rung of the ladder adds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd

from afmrl_models.config.tasks import TaskName
from afmrl_models.errors import UserError
from afmrl_models.retrieval.ladder import rungs_of
from afmrl_models.retrieval.significance import two_way_bootstrap
from afmrl_models.retrieval.tasks import TASKS

# A row's `per_query` frames: of one seed, of seeds 0, 1, …, or by seed.
PerQuery = pd.DataFrame | Sequence[pd.DataFrame] | Mapping[int, pd.DataFrame]
LADDER_TASKS: tuple[TaskName, ...] = ("fine_grained", "fine_grained_in_category")
_LEVEL = 0.95


class AblationError(UserError):
    """The rows cannot be compared; the message names the row."""


@dataclass(frozen=True)
class Ablation:
    """All rows on the same queries.

    tasks: those the ladder is judged on, the first one first of all. ks: the cut-offs.
    rows: task, row, seeds, queries, then for each k `recall_at_k` (mean over seeds), `_low`, `_high`.
    by_seed: task, row, seed, then for each k `recall_at_k` of that seed.
    rungs: task, metric, rung, row, over, adds, kind, `difference` of the means with `low` and `high`,
    `relative` (difference / the mean of `over`; NaN where that is 0) with `relative_low` and `relative_high`,
    `by_seed` (the differences of equal seeds; empty where the two rows have other seeds), `verdict` (`above`,
    `below` or `unclear`: where the interval lies to zero).
    headlines: row, task (or `downstream`), metric, value, low, high (NaN for downstream measures).
    """

    tasks: tuple[TaskName, ...]
    ks: tuple[int, ...]
    rows: pd.DataFrame
    by_seed: pd.DataFrame
    rungs: pd.DataFrame
    headlines: pd.DataFrame

    def metrics(self) -> dict[str, float]:
        """For a tracking server: `<row>/<task>/<metric>` and `gain/<rung>/<task>/<metric>` with its ends."""
        found = {
            f"{line['row']}/{line['task']}/{column}": float(line[column])
            for line in self.rows.to_dict("records")
            for column in (f"recall_at_{k}" for k in self.ks)
        }
        for line in self.rungs.to_dict("records"):
            name = f"gain/{line['rung']}/{line['task']}/{line['metric']}"
            found |= {name: line["difference"], f"{name}_low": line["low"], f"{name}_high": line["high"]}
        for line in self.headlines.to_dict("records"):
            found.setdefault(f"{line['row']}/{line['task']}/{line['metric']}", line["value"])
        return found

    def as_dict(self) -> dict[str, Any]:
        """Plain lists and numbers for JSON; what is not a number is null."""
        tables = {name: getattr(self, name) for name in ("rows", "by_seed", "rungs", "headlines")}
        return {
            "tasks": list(self.tasks),
            "ks": list(self.ks),
            "level": _LEVEL,
            **{name: [_plain(line) for line in table.to_dict("records")] for name, table in tables.items()},
        }


def judge_rows(
    rows: Mapping[str, PerQuery],
    *,
    ks: Sequence[int] = (1, 5, 10),
    downstream: Mapping[str, Sequence[Mapping[str, float]]] | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
) -> Ablation:
    """Compare rows over all their seeds, with 95 % intervals over products and seeds.

    rows: name -> the `per_query` frames of its Evaluations, one a training seed. downstream: name -> the
    `metrics` of the same Evaluations; those of `downstream/` join the headlines as means over the seeds.
    Judged on the tasks of LADDER_TASKS that all rows could ask, else on the first other one. Raises
    AblationError when rows have no task in common or were measured on different queries.
    """
    if not rows:
        raise AblationError("there are no rows to compare")
    frames = {name: _by_seed(name, given) for name, given in rows.items()}
    asked = [set(frame["task"]) for seeds in frames.values() for frame in seeds.values()]
    common = [name for name in TASKS if all(name in tasks for tasks in asked)]
    if not common:
        raise AblationError(
            "the rows share no task: the test split has neither products nor categories in common"
        )
    tasks = tuple(task for task in LADDER_TASKS if task in common) or (common[0],)
    columns = [f"recall_at_{k}" for k in ks]
    judged = {task: _Measured(frames, task, columns, bootstrap, seed) for task in tasks}
    headlines = []
    for task in common:
        metric = _headline(task, ks)
        known = task in judged and metric in columns
        measured = judged[task] if known else _Measured(frames, task, [metric], bootstrap, seed)
        headlines += [{"row": name, "task": task, **measured.mean(name, metric)} for name in frames]
    return Ablation(
        tasks=tasks,
        ks=tuple(ks),
        rows=pd.DataFrame([line for measured in judged.values() for line in measured.lines()]),
        by_seed=pd.DataFrame([line for measured in judged.values() for line in measured.seed_lines()]),
        rungs=pd.DataFrame(
            [line for measured in judged.values() for line in measured.rung_lines()], columns=_RUNG_COLUMNS
        ),
        headlines=pd.DataFrame(headlines + _downstream(downstream or {})),
    )


_RUNG_COLUMNS = [
    *("task", "metric", "rung", "row", "over", "adds", "kind", "difference", "low", "high"),
    *("relative", "relative_low", "relative_high", "by_seed", "verdict"),
]


class _Measured:
    """One task's values of all rows, and their resampled means."""

    def __init__(
        self,
        frames: Mapping[str, Mapping[int, pd.DataFrame]],
        task: TaskName,
        columns: list[str],
        bootstrap: int,
        seed: int,
    ) -> None:
        self.task, self.columns = task, columns
        self.seeds = {name: list(seeds) for name, seeds in frames.items()}
        chosen = {
            name: [_of_task(name, frame, task, columns) for frame in seeds.values()]
            for name, seeds in frames.items()
        }
        first = next(iter(chosen.values()))[0]
        for name, parts in chosen.items():
            for number, part in zip(self.seeds[name], parts, strict=True):
                if not part.index.equals(first.index):
                    odd = sorted(set(part.index) ^ set(first.index))
                    raise AblationError(
                        f"row {name!r}, seed {number}: {task} was measured on other queries than in row "
                        f"{next(iter(chosen))!r}: {len(odd)} differ, the first is {odd[0]!r}"
                    )
        self.queries = len(first)
        self.values = {name: np.stack([part[columns] for part in parts]) for name, parts in chosen.items()}
        self.means = {name: values.mean(axis=(0, 1)) for name, values in self.values.items()}
        self.draws = two_way_bootstrap(
            self.values,
            first["product_id"].tolist(),
            bootstrap,
            seed,
            paired_seeds=len(set(map(tuple, self.seeds.values()))) == 1,
        )

    def mean(self, name: str, metric: str) -> dict[str, Any]:
        column = self.columns.index(metric)
        low, high = _interval(self.draws[name][:, column])
        return {"metric": metric, "value": float(self.means[name][column]), "low": low, "high": high}

    def lines(self) -> list[dict[str, Any]]:
        lines = []
        for name, seeds in self.seeds.items():
            line = {"task": self.task, "row": name, "seeds": len(seeds), "queries": self.queries}
            for metric in self.columns:
                found = self.mean(name, metric)
                line |= {
                    metric: found["value"], f"{metric}_low": found["low"], f"{metric}_high": found["high"]
                }  # fmt: skip
            lines.append(line)
        return lines

    def seed_lines(self) -> list[dict[str, Any]]:
        return [
            {"task": self.task, "row": name, "seed": number}
            | dict(zip(self.columns, values.mean(axis=0).tolist(), strict=True))
            for name, seeds in self.seeds.items()
            for number, values in zip(seeds, self.values[name], strict=True)
        ]

    def rung_lines(self) -> list[dict[str, Any]]:
        return [
            self._rung_line(rung.row, rung.over, column)
            | {"rung": rung.name, "adds": rung.adds, "kind": rung.kind}
            for column in range(len(self.columns))
            for rung in rungs_of(list(self.values))
        ]

    def _rung_line(self, row: str, over: str, column: int) -> dict[str, Any]:
        upper, lower = float(self.means[row][column]), float(self.means[over][column])
        above, below = self.draws[row][:, column], self.draws[over][:, column]
        low, high = _interval(above - below)
        relative = (float("nan"),) * 3
        if lower > 0:
            with np.errstate(divide="ignore", invalid="ignore"):
                ratios = above / below - 1
            ends = _interval(ratios) if np.isfinite(ratios).all() else (float("nan"), float("nan"))
            relative = (upper / lower - 1, *ends)
        by_seed: list[float] = []
        if self.seeds[row] == self.seeds[over]:
            by_seed = (self.values[row] - self.values[over]).mean(axis=1)[:, column].tolist()
        return {
            "task": self.task,
            "metric": self.columns[column],
            "row": row,
            "over": over,
            "difference": upper - lower,
            "low": low,
            "high": high,
            **dict(zip(("relative", "relative_low", "relative_high"), relative, strict=True)),
            "by_seed": by_seed,
            "verdict": "above" if low > 0 else "below" if high < 0 else "unclear",
        }


def _by_seed(name: str, given: PerQuery) -> dict[int, pd.DataFrame]:
    if isinstance(given, pd.DataFrame):
        given = [given]
    frames = dict(given) if isinstance(given, Mapping) else dict(enumerate(given))
    if not frames:
        raise AblationError(f"row {name!r} has no evaluation")
    return dict(sorted(frames.items()))


def _of_task(name: str, frame: pd.DataFrame, task: str, columns: list[str]) -> pd.DataFrame:
    """One seed's values, indexed by query id in sorted order, with product_id."""
    missing = [column for column in columns if column not in frame]
    if missing:
        raise AblationError(f"row {name!r} lacks {missing}: it was evaluated with other ks")
    part = frame[frame["task"] == task].set_index("query_id").sort_index()
    return part[["product_id", *columns]]


def _interval(draws: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(draws, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return float(low), float(high)


def _headline(task: TaskName, ks: Sequence[int]) -> str:
    """Recall at the first cut-off; mAP at the last, for at the first it is a hit rate."""
    headline = TASKS[task].headline
    return f"{headline}_at_{ks[0] if headline == 'recall' else ks[-1]}"


def _downstream(metrics: Mapping[str, Sequence[Mapping[str, float]]]) -> list[dict[str, Any]]:
    """Means over the seeds of the downstream measures that every seed of the row has."""
    nan = float("nan")
    return [
        {
            "row": row,
            "task": "downstream",
            "metric": name.removeprefix("downstream/"),
            "value": float(np.mean([measured[name] for measured in seeds])),
            "low": nan,
            "high": nan,
        }
        for row, seeds in metrics.items()
        for name in (seeds[0] if seeds else {})
        if name.startswith("downstream/") and all(name in measured for measured in seeds)
    ]


def _plain(line: Mapping[Any, Any]) -> dict[str, Any]:
    return {
        str(key): None if isinstance(value, float) and np.isnan(value) else cast(Any, value)
        for key, value in line.items()
    }
