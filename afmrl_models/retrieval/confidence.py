"""How likely two similar listings are one product: similarity calibrated on labelled links."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss
from sklearn.model_selection import GroupKFold

CurveKind = Literal["isotonic", "platt"]

_BINS, _FOLDS, _PLATT_KNOTS = 10, 5, 201


@dataclass(frozen=True)
class ConfidenceCurve:
    """Similarity → probability that a link of it joins one product; straight between its knots, rising."""

    kind: CurveKind
    similarities: tuple[float, ...]
    probabilities: tuple[float, ...]

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Probabilities of similarities of any shape."""
        return np.interp(scores, self.similarities, self.probabilities)

    def similarity_at(self, probability: float) -> float:
        """The lowest similarity with at least this probability; infinite where none has."""
        grid = np.linspace(self.similarities[0], self.similarities[-1], 4001)
        reached = np.flatnonzero(self(grid) >= probability)
        return float(grid[reached[0]]) if len(reached) else float("inf")


@dataclass(frozen=True)
class Reliability:
    """How far confidences are to be believed, on links that did not make them.

    brier: mean squared error (lower is better; `brier_of_the_share` is that of saying their overall share
    right of every link). expected_calibration_error: over bins of equally many links. bins: mean confidence,
    share right and number of links of each.
    """

    links: int
    brier: float
    brier_of_the_share: float
    expected_calibration_error: float
    bins: tuple[tuple[float, float, int], ...]


def fit_confidence(labelled: pd.DataFrame) -> ConfidenceCurve:
    """Isotonic or Platt's curve, whichever has the lower Brier score on products it was not fitted to.

    labelled: score, right, product (of the link's source). Isotonic regression needs many links, a logistic
    curve few. Never says 0 or 1: with n links nothing is known better than 1 / (n + 2).
    """
    scores, right = labelled["score"].to_numpy(dtype=float), labelled["right"].to_numpy(dtype=float)
    folds = min(_FOLDS, labelled["product"].nunique())
    if folds < 2 or len(np.unique(right)) < 2:
        return _fit("isotonic", scores, right)
    errors: dict[CurveKind, float] = {"isotonic": 0.0, "platt": 0.0}
    for train, test in GroupKFold(folds).split(scores, groups=labelled["product"]):
        for kind in errors:
            curve = _fit(kind, scores[train], right[train])
            errors[kind] += float(((curve(scores[test]) - right[test]) ** 2).sum())
    return _fit(min(errors, key=lambda kind: errors[kind]), scores, right)


def reliability(curve: ConfidenceCurve, labelled: pd.DataFrame) -> Reliability | None:
    """How the curve's confidences hold on labelled links (score, right); None where there are none."""
    if labelled.empty:
        return None
    right = labelled["right"].to_numpy(dtype=float)
    confidence = curve(labelled["score"].to_numpy(dtype=float))
    order = np.argsort(confidence, kind="stable")
    parts = [part for part in np.array_split(order, min(_BINS, len(order))) if len(part)]
    bins = tuple((float(confidence[p].mean()), float(right[p].mean()), len(p)) for p in parts)
    return Reliability(
        links=len(right),
        brier=float(brier_score_loss(right, confidence, pos_label=1)),
        brier_of_the_share=float(right.mean() * (1 - right.mean())),
        expected_calibration_error=sum(n * abs(said - was) for said, was, n in bins) / len(right),
        bins=bins,
    )


def _fit(kind: CurveKind, scores: np.ndarray, right: np.ndarray) -> ConfidenceCurve:
    if kind == "isotonic" or len(np.unique(right)) < 2:
        fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(scores, right)
        knots, values = fitted.X_thresholds_, fitted.y_thresholds_
        kind = "isotonic"
    else:
        centre, width = scores.mean(), scores.std() or 1.0
        logistic = LogisticRegression(C=1e6).fit(((scores - centre) / width)[:, None], right)
        knots = np.linspace(min(-1.0, scores.min()), max(1.0, scores.max()), _PLATT_KNOTS)
        values = logistic.predict_proba(((knots - centre) / width)[:, None])[:, 1]
        if logistic.coef_[0, 0] <= 0:
            values = np.full_like(knots, right.mean())
    least = 1 / (len(right) + 2)
    values = np.clip(values, least, 1 - least)
    return ConfidenceCurve(kind, tuple(map(float, knots)), tuple(map(float, values)))
