"""Training products dealt to distillation and to RAR."""

import numpy as np
import pandas as pd
import pytest

from afmrl_models.attributes.lessons import deal_lessons
from afmrl_models.errors import UserError

LISTINGS = pd.DataFrame(
    {
        "listing_id": [f"l{number}" for number in range(400)],
        "product_id": [f"p{number // 2}" if number < 300 else None for number in range(400)],
    }
)


def test_products_are_dealt_whole_and_the_same_way_whatever_their_order() -> None:
    taught, others = deal_lessons(LISTINGS, 0.6, seed=0)
    assert set(taught["listing_id"]) | set(others["listing_id"]) == set(LISTINGS["listing_id"])
    assert not set(taught["product_id"].dropna()) & set(others["product_id"].dropna())
    assert len(taught) == pytest.approx(240, abs=40)
    again, _ = deal_lessons(LISTINGS[::-1], 0.6, seed=0)
    assert set(again["listing_id"]) == set(taught["listing_id"])
    other_seed, _ = deal_lessons(LISTINGS, 0.6, seed=1)
    assert set(other_seed["listing_id"]) != set(taught["listing_id"])
    assert np.array_equal(taught.index, np.arange(len(taught)))


def test_a_whole_share_leaves_all_to_both() -> None:
    taught, others = deal_lessons(LISTINGS, 1.0, seed=0)
    assert len(taught) == len(others) == len(LISTINGS)


@pytest.mark.parametrize(("share", "whom"), [(0.999, "RAR"), (0.001, "distillation")])
def test_a_share_that_leaves_nothing_is_an_error(share: float, whom: str) -> None:
    with pytest.raises(UserError, match=f"attributes.sft.share: {share} of 1 training products.* to {whom}"):
        deal_lessons(LISTINGS[:2], share, seed=0)
