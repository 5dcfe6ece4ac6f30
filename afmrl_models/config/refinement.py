"""Settings of RAR and CIT."""

from typing import Literal, Self

from pydantic import Field, model_validator

from afmrl_models.config.strict import Strict

RewardMetric = Literal["set_recall", "mrr", "ndcg"]


class RefinementConfig(Strict):
    """RAR: GRPO with the retrieval reward (docs/method.md stage 2), and CIT (stage 3)."""

    metric: RewardMetric = Field(
        "set_recall",
        description="the reward of a text: this measure of the ranking it leads to, at k. set_recall is the "
        "paper's Recall@k; mrr and ndcg also tell apart texts that find the match at different ranks",
    )
    k: int = Field(50, ge=1, description="how deep the reward looks")
    gallery: Literal["all", "category"] = Field(
        "all",
        description="category: the reward ranks a query among its own category only",
    )
    invalid_reward: float = Field(-0.1, description="reward of a text that the attribute grammar refuses")
    group_size: int = Field(8, ge=2, description="attribute texts sampled for a query")
    queries_per_step: int = Field(8, ge=1, description="listings a step; each gets group_size texts")
    mini_batch_size: int | None = Field(None, ge=1, description="texts a forward pass; null: all of a step's")
    passes: int = Field(1, ge=1, description="updates on the same sampled texts; above 1 the clipping acts")
    steps: int = Field(40, ge=1, description="batches of texts sampled, scored and learned from")
    learning_rate: float = Field(1e-4, gt=0, description="of GRPO, constant")
    beta: float = Field(
        0.04, ge=0, description="weight of the KL term that keeps the policy near the SFT model"
    )
    clip: float = Field(0.2, gt=0, description="GRPO's epsilon")
    temperature: float = Field(1.0, gt=0, description="of the sampling")
    max_new_tokens: int = Field(96, ge=8, description="longer texts are cut")
    cit_share: float = Field(
        0.3, gt=0, le=1, description="share of the training listings written anew for CIT"
    )

    @model_validator(mode="after")
    def _mini_batches(self) -> Self:
        texts = self.group_size * self.queries_per_step
        if self.mini_batch_size is not None and texts % self.mini_batch_size:
            raise ValueError(
                f"mini_batch_size {self.mini_batch_size} does not divide the {texts} texts of a step "
                "(group_size x queries_per_step)"
            )
        return self
