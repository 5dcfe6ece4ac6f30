"""Who becomes champion, against a real registry; the evaluations are given."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from afmrl_models.config import Profile
from afmrl_models.registry import promotion
from afmrl_models.registry.models import ModelVersion, RegistryError, get_alias, set_alias
from afmrl_models.registry.promotion import Decision, judge_challenger
from afmrl_models.registry.tracking import Tracking
from afmrl_models.retrieval.evaluation import Evaluation

QUERIES = 200
PROFILE = Profile.model_validate(
    {"name": "shop", "catalog": {"source": {"kind": "generated"}}, "champion": {"max_regression": 0.02}}
)


def evaluation(hits: int) -> Evaluation:
    """The first `hits` of 200 queries find their product at rank 1."""
    frame = pd.DataFrame(
        {
            "task": "fine_grained",
            "query_id": [f"q{i}" for i in range(QUERIES)],
            "product_id": [f"p{i}" for i in range(QUERIES)],
            "recall_at_1": (np.arange(QUERIES) < hits).astype(float),
        }
    )
    return Evaluation({"fine_grained/recall_at_1": hits / QUERIES}, {}, frame, pd.DataFrame(), {})


class Registry:
    """Registered versions whose evaluations are known."""

    def __init__(self, home: Path) -> None:
        self.tracking = Tracking(None, home, "shop")
        self.evaluations: dict[str, Evaluation] = {}
        for role in ("embedder", "generator"):
            self.tracking.client.create_registered_model(f"shop-{role}")

    def add(self, role: str, hits: int = 0) -> ModelVersion:
        name = f"shop-{role}"
        client = self.tracking.client
        model_id = client.create_logged_model(self.tracking.experiment_id()).model_id
        client.finalize_logged_model(model_id, "READY")
        number = int(client.create_model_version(name, f"models:/{model_id}", model_id=model_id).version)
        version = ModelVersion(name, number, model_id, f"models:/{name}/{number}")
        self.evaluations[version.uri] = evaluation(hits)
        return version

    def judge(self, challenger: ModelVersion, baseline: ModelVersion) -> Decision:
        return judge_challenger(
            PROFILE,
            self.tracking,
            embedder=challenger,
            generator=self.add("generator"),
            evaluated=self.evaluations[challenger.uri],
            baseline=baseline,
            baseline_evaluated=self.evaluations[baseline.uri],
            test=pd.DataFrame(),
            splits=pd.DataFrame(),
            images=None,  # type: ignore[arg-type]
            attributes={},
            keys=[],
            device="cpu",
        )

    def champion(self, role: str = "embedder") -> ModelVersion | None:
        return get_alias(self.tracking, f"shop-{role}", "champion")


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    registry = Registry(tmp_path)
    monkeypatch.setattr(
        promotion, "_evaluate", lambda profile, tracking, version, *rest: registry.evaluations[version.uri]
    )
    monkeypatch.setattr(promotion, "_champion_attributes", lambda *arguments: {})
    return registry


def test_the_first_challenger_that_beats_the_baseline_is_champion(registry: Registry) -> None:
    decision = registry.judge(challenger := registry.add("embedder", 120), registry.add("embedder", 100))
    assert decision.promoted and decision.difference == pytest.approx(0.1)
    assert registry.champion() == challenger
    assert registry.champion("generator") is not None


def test_the_baseline_is_the_first_champion_where_it_is_better(registry: Registry) -> None:
    decision = registry.judge(registry.add("embedder", 80), baseline := registry.add("embedder", 120))
    assert not decision.promoted and "baseline becomes it" in decision.reason
    assert registry.champion() == baseline
    assert registry.champion("generator") is None


def test_a_worse_challenger_leaves_the_champion_in_force(registry: Registry) -> None:
    baseline = registry.add("embedder", 90)
    registry.judge(champion := registry.add("embedder", 120), baseline)
    decision = registry.judge(worse := registry.add("embedder", 100), baseline)
    assert not decision.promoted and decision.high is not None and decision.high < 0
    assert registry.champion() == champion
    challenger = get_alias(registry.tracking, "shop-embedder", "challenger")
    assert challenger is not None and challenger.version == worse.version


def test_a_challenger_within_the_margin_is_promoted(registry: Registry) -> None:
    baseline = registry.add("embedder", 90)
    registry.judge(registry.add("embedder", 120), baseline)
    decision = registry.judge(equal := registry.add("embedder", 120), baseline)
    assert decision.promoted and decision.difference == 0
    assert registry.champion() == equal


def test_weights_that_do_not_reach_what_was_evaluated_are_refused(registry: Registry) -> None:
    challenger, baseline = registry.add("embedder", 120), registry.add("embedder", 90)
    set_alias(registry.tracking, baseline.name, "champion", baseline.version)
    honest = registry.evaluations[challenger.uri]
    registry.evaluations[challenger.uri] = evaluation(60)
    with pytest.raises(RegistryError, match=r"reach fine_grained/recall_at_1 0\.3000, but 0\.6000"):
        judge_challenger(
            PROFILE,
            registry.tracking,
            embedder=challenger,
            generator=registry.add("generator"),
            evaluated=honest,
            baseline=baseline,
            baseline_evaluated=registry.evaluations[baseline.uri],
            test=pd.DataFrame(),
            splits=pd.DataFrame(),
            images=None,  # type: ignore[arg-type]
            attributes={},
            keys=[],
            device="cpu",
        )
    assert registry.champion() == baseline
