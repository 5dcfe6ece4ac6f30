"""The texts that RAR sampled, as one page with photos."""

import jinja2
import pandas as pd

from afmrl_models.catalog.images import ImageStore
from afmrl_models.catalog.inline_photo import inline_photo


def samples_page(samples: pd.DataFrame, images: ImageStore, title: str) -> str:
    """HTML that needs no other file: a block a sampled group, newest step first; catalog text is escaped.

    samples: the table of `RecordedReward.samples`.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("afmrl_models.refinement", package_path=""),
        autoescape=True,
        trim_blocks=True,
    )
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
    return environment.get_template("samples_page.html.jinja").render(title=title, groups=groups[::-1])
