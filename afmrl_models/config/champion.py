"""When a challenger becomes champion."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from afmrl_models.config.strict import Strict
from afmrl_models.config.tasks import TaskName

MetricName = Annotated[
    str, Field(pattern=r"^(recall|set_recall|precision|precision_capped|map|map_cut|mrr|ndcg)_at_[1-9]\d*$")
]


class TaskLimit(Strict):
    """How far one more task may fall."""

    metric: MetricName = "recall_at_10"
    max_drop: float = Field(0.05, ge=0, description="the challenger may be this far below the champion")


def _every_other_task() -> dict[TaskName, TaskLimit]:
    return {
        "coarse_grained": TaskLimit(metric="map_at_10", max_drop=0.02),
        "image_to_multimodal": TaskLimit(),
        "image_to_text": TaskLimit(),
        "text_to_image": TaskLimit(),
    }


class ChampionConfig(Strict):
    """The rules of `release/champion`, on the frozen evaluation set."""

    task: TaskName = Field("fine_grained", description="judged on this task")
    metric: MetricName = Field("recall_at_1", description="by this metric")
    require: Literal["better", "not_worse"] = Field(
        "not_worse", description="better: the interval of the difference lies above zero"
    )
    max_regression: float = Field(
        0.03,
        ge=0,
        description="not_worse: the interval may reach this far below the champion; sensible for about 2,000 "
        "queries, larger for fewer",
    )
    limits: dict[TaskName, TaskLimit] = Field(
        default_factory=_every_other_task, description="tasks that may not fall further than this"
    )

    @model_validator(mode="after")
    def _one_rule_a_task(self) -> Self:
        if self.task in self.limits and "limits" in self.model_fields_set:
            raise ValueError(f"limits names {self.task}, which is judged by require already")
        return self

    @property
    def other_limits(self) -> dict[TaskName, TaskLimit]:
        """The limits of all tasks but the champion's own."""
        return {task: limit for task, limit in self.limits.items() if task != self.task}
