"""Settings of the evaluation."""

from typing import Literal, Self, get_args

from pydantic import Field, model_validator

from afmrl_models.config.strict import Strict
from afmrl_models.config.tasks import TaskName

Enrichment = Literal["query", "both"]


def _query_alone() -> list[Enrichment]:
    return ["query"]


class EvaluationConfig(Strict):
    """Retrieval tasks and downstream measures on the test split."""

    tasks: list[TaskName] = Field(
        default_factory=lambda: list(get_args(TaskName)),
        min_length=1,
    )
    ks: list[int] = Field(default_factory=lambda: [1, 5, 10], min_length=1)
    batch_size: int = Field(256, ge=1, description="listings a forward pass")
    enrich: list[Enrichment] = Field(
        default_factory=_query_alone,
        min_length=1,
        description="sides that show attributes, a set of rows each; the first: the ladder's and champion's",
    )
    oracle: bool = Field(
        True, description="also rows with the shop's true attributes: the most a generator could bring"
    )
    bootstrap: int = Field(1000, ge=100, description="resamples of products for the 95 % intervals")

    @model_validator(mode="after")
    def _each_enrichment_once(self) -> Self:
        if len(set(self.enrich)) < len(self.enrich):
            raise ValueError(f"enrich names a side twice: {self.enrich}")
        return self

    @property
    def enriches_gallery(self) -> bool:
        """The ladder's rows, and so the champion, show attributes on the gallery's side, too."""
        return self.enrich[0] == "both"
