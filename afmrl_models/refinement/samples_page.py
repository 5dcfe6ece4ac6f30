"""The texts that RAR sampled, as one page with photos."""

import pandas as pd

from afmrl_models.catalog.images import ImageStore
from afmrl_models.catalog.inline_photo import inline_photo
from afmrl_models.retrieval.pages import templates


def samples_page(samples: pd.DataFrame, images: ImageStore, title: str) -> str:
    """HTML that needs no other file: a block a sampled group, newest step first; catalog text is escaped.

    samples: the table of `RecordedReward.samples`.
    """
    groups = [
        {
            "step": step,
            "listing_id": listing_id,
            "prompt": texts["prompt"].iloc[0],
            "photo": inline_photo(images.get(str(listing_id))),
            "texts": texts.sort_values("reward", ascending=False, kind="stable").to_dict("records"),
            "signal": texts["reward"].nunique() > 1,
        }
        for (step, listing_id), texts in samples.groupby(["step", "listing_id"], sort=False)
    ]
    return (
        templates(__package__)
        .get_template("samples_page.html.jinja")
        .render(title=title, groups=groups[::-1])
    )
