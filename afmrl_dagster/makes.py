"""What an asset makes, as a tag: `tag:afmrl/makes=model` selects everything that is trained."""

from collections.abc import Sequence
from typing import Literal

_MODELS = {"base_embedder", "base_generator", "embedder", "attribute_generator"}
_JUDGEMENTS = {"retrieval_metrics", "ablation", "generator_quality", "champion"}


def makes(key: Sequence[str]) -> Literal["model", "judgement", "table"]:
    """A model, a judgement of models, or a table of listings."""
    return "model" if key[-1] in _MODELS else "judgement" if key[-1] in _JUDGEMENTS else "table"
