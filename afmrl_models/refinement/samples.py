"""What RAR samples, on record: whole groups of texts, each with its reward and what it teaches."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from transformers import TrainerState

from afmrl_models.catalog.learned_from import LearnedFrom
from afmrl_models.config import RefinementConfig
from afmrl_models.refinement.reward import RetrievalReward, completion_text

GROUPS_KEPT = 2  # whole groups of a sampled step
SAMPLED_STEPS = 30  # however long the run is
_COLUMNS = ["step", "listing_id", "prompt", "completion", "valid", "reward", "advantage"]


class RecordedReward:
    """The reward as TRL calls it; keeps samples and logs what TRL does not."""

    __name__ = "retrieval"

    def __init__(self, reward: RetrievalReward, config: RefinementConfig) -> None:
        self._reward = reward
        self._passes = config.passes
        self._group_size = config.group_size
        self._last = config.steps
        self._every = max(1, -(-config.steps // SAMPLED_STEPS))
        self._kept: list[dict[str, Any]] = []
        self.seen = LearnedFrom()
        self.seen.note("RAR queries")
        self.seen.note("RAR gallery", *reward.gallery_ids)

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        listing_id: Sequence[str],
        trainer_state: TrainerState,
        log_metric: Any,
        **_: Any,
    ) -> list[float | None]:
        self.seen.note("RAR queries", *listing_id)
        texts = [completion_text(completion) for completion in completions]
        scored = self._reward.score(listing_id, texts)
        log_metric("share_invalid", float(1 - scored.valid.mean()))
        log_metric("mean_characters", sum(map(len, texts)) / len(texts))
        step = trainer_state.global_step // self._passes + 1
        if (step - 1) % self._every == 0 or step == self._last:
            learned = advantages(scored.rewards, self._group_size)
            for i in range(min(GROUPS_KEPT * self._group_size, len(texts))):
                values = (
                    step,
                    listing_id[i],
                    _prompt_text(prompts[i]),
                    texts[i],
                    bool(scored.valid[i]),
                    float(scored.rewards[i]),
                    float(learned[i]),
                )
                self._kept.append(dict(zip(_COLUMNS, values, strict=True)))
        return [float(reward) for reward in scored.rewards]

    def state(self) -> dict[str, Any]:
        """What is on record, as JSON."""
        return {"kept": self._kept, "seen": self.seen.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on with what another one's `state` holds."""
        self._kept = list(state["kept"])
        self.seen.restore(state["seen"])

    def samples(self) -> pd.DataFrame:
        """step, listing_id, prompt, completion, valid, reward, advantage; a row a text, groups together."""
        return pd.DataFrame(self._kept, columns=_COLUMNS)


def advantages(rewards: np.ndarray, group_size: int) -> np.ndarray:
    """GRPO's, (N,): rewards less their group's mean, over its standard deviation (n - 1) plus 1e-4."""
    groups = rewards.reshape(-1, group_size)
    spread = groups.std(axis=1, ddof=1, keepdims=True)
    return ((groups - groups.mean(axis=1, keepdims=True)) / (spread + 1e-4)).reshape(-1)


def _prompt_text(prompt: Any) -> str:
    """The text parts of a conversational prompt, a message a line."""
    return "\n".join(_message_text(message["content"]) for message in prompt)


def _message_text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content if part["type"] == "text")
