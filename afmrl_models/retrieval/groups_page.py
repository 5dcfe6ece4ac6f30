"""The groups of identical products as one page: how far to trust them, the doubtful pairs, the groups."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from afmrl_models.catalog.inline_photo import inline_photo
from afmrl_models.retrieval.calibration import Calibration, Quality
from afmrl_models.retrieval.confidence import Reliability
from afmrl_models.retrieval.contact_sheet import Photos
from afmrl_models.retrieval.pages import templates

PAGE = "identical_products.html"
_EDGE = 160
_REASONS = {
    "unsure": "neither surely one product nor surely two",
    "chain": "similar, but a chain of other listings was cut between them",
    "contradiction": "earlier answers contradict each other",
}


@dataclass(frozen=True)
class GroupsReport:
    """What `release/identical_products` found, and how it was measured.

    groups: group_id, listing_id, score, reviewed, confidence. pairs: as `ambiguous_pairs` makes them.
    measured: by split. answers: where the team's answers are kept, for people to read.
    """

    profile: str
    model: str
    listings: int
    groups: pd.DataFrame
    pairs: pd.DataFrame
    pairs_left_out: int
    calibration: Calibration
    measured: Mapping[str, Quality]
    on_test: Reliability | None
    answers: str

    def metrics(self) -> dict[str, float]:
        """What MLflow compares: counts, precision and recall by split, and calibration on test."""
        values: dict[str, float | None] = {
            "groups": self.groups["group_id"].nunique(),
            "grouped_listings": len(self.groups),
            "ambiguous_pairs": len(self.pairs) + self.pairs_left_out,
            "threshold": self.calibration.threshold,
        }
        for split, quality in self.measured.items():
            values |= {f"{split}/precision": quality.precision.value, f"{split}/recall": quality.recall.value}
        if self.on_test is not None:
            values |= {
                "test/confidence_error": self.on_test.expected_calibration_error,
                "test/brier": self.on_test.brier,
            }
        return {name: float(value) for name, value in values.items() if value is not None}


def groups_page(
    report: GroupsReport,
    listings: pd.DataFrame,
    photos: Photos,
    *,
    most_groups: int = 200,
    most_members: int = 12,
    most_pairs: int = 40,
) -> str:
    """HTML that needs no other file, catalog text escaped: the likeliest pairs, the largest groups.

    listings: listing_id, title, category and seller of all grouped and paired. What is above the bounds is
    counted on the page.
    """
    stated = listings.set_index("listing_id")[["title", "category", "seller"]]

    def shown(listing_id: str) -> dict[str, Any]:
        facts = {str(name): _known(value) for name, value in stated.loc[listing_id].items()}
        return {"listing_id": listing_id, "photo": inline_photo(photos.get(listing_id), _EDGE), **facts}

    sizes = report.groups.groupby("group_id").size().rename("size").reset_index()
    largest = sizes.sort_values(["size", "group_id"], ascending=[False, True]).head(most_groups)
    of_group = dict(list(report.groups.groupby("group_id")))
    groups = [
        {
            "group_id": group_id,
            "size": size,
            "members": [
                {**shown(row["listing_id"]), **row}
                for row in of_group[group_id]
                .sort_values(["score", "listing_id"], ascending=[False, True])
                .head(most_members)
                .to_dict("records")
            ],
        }
        for group_id, size in zip(largest["group_id"].tolist(), largest["size"].tolist(), strict=True)
    ]
    pairs = [
        {
            **row,
            "why": _REASONS[row["reason"]],
            "sides": [
                {
                    **shown(row[f"{side}_id"]),
                    "group": _known(row[f"{side}_group"]),
                }
                for side in ("left", "right")
            ],
        }
        for row in report.pairs.head(most_pairs).to_dict("records")
    ]
    return (
        templates("afmrl_models.retrieval")
        .get_template("groups_page.html.jinja")
        .render(
            report=report,
            groups=groups,
            pairs=pairs,
            all_groups=len(sizes),
            all_pairs=len(report.pairs) + report.pairs_left_out,
            made_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        )
    )


def _known(value: Any) -> Any:
    return None if pd.isna(value) else value
