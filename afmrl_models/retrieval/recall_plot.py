"""Recall by task, with intervals: one figure of several evaluations side by side."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from afmrl_models.retrieval.evaluation import Evaluation

_COLOURS = ["#2563eb", "#15803d", "#b45309", "#b91c1c", "#6d28d9", "#0e7490", "#94a3b8"]
_STEP = 0.8  # of a task's height that its rows share


def recall_plot(evaluations: Mapping[str, Evaluation], ks: Sequence[int]) -> Figure:
    """Recall@k of every task, a panel for the first k and one for the last; lines are 95 % intervals.

    A task that an evaluation could not ask is left blank.
    """
    cutoffs = list(dict.fromkeys((ks[0], ks[-1])))
    tasks = list(
        dict.fromkeys(
            name.partition("/")[0] for evaluation in evaluations.values() for name in evaluation.intervals
        )
    )
    height = 1.2 + len(tasks) * (0.25 + 0.17 * len(evaluations))
    figure = Figure(figsize=(5.5 * len(cutoffs), height), layout="constrained")
    axes = figure.subplots(1, len(cutoffs), sharey=True, squeeze=False)[0]
    for axis, k in zip(axes, cutoffs, strict=True):
        for number, (row, evaluation) in enumerate(evaluations.items()):
            colour = _COLOURS[number % len(_COLOURS)]
            metrics = {task: f"{task}/recall_at_{k}" for task in tasks}
            asked = [i for i, task in enumerate(tasks) if metrics[task] in evaluation.intervals]
            heights = [i + (number + 0.5) / len(evaluations) * _STEP - _STEP / 2 for i in asked]
            values = [evaluation.metrics[metrics[tasks[i]]] for i in asked]
            intervals = [evaluation.intervals[metrics[tasks[i]]] for i in asked]
            axis.hlines(
                heights,
                [i.low for i in intervals],
                [i.high for i in intervals],
                color=colour,
                alpha=0.5,
                lw=2.5,
            )
            axis.plot(values, heights, "o", color=colour, markersize=5, label=row)
        axis.set_title(f"Recall@{k}", loc="left", fontsize=10)
        axis.set_xlim(-0.02, 1.02)
        axis.grid(axis="x", color="#e5e7eb")
        axis.set_yticks(range(len(tasks)), tasks)
        axis.set_ylim(len(tasks) - 0.5, -0.5)
        axis.spines[["top", "right", "left"]].set_visible(False)
        axis.tick_params(length=0)
    if evaluations:
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    return figure
