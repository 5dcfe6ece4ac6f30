"""Judging a table of product attributes by a steward's expectations, with Great Expectations."""

from afmrl_models.attributes.judgement.judging import Verdict, is_accepted, judge
from afmrl_models.attributes.judgement.material import Material

__all__ = ["Material", "Verdict", "is_accepted", "judge"]
