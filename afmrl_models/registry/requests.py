"""The input frame of the packaged models as the listings that the rest of the library works on."""

from typing import cast

import pandas as pd

from afmrl_models.catalog.images import ImageStore
from afmrl_models.registry.photos import PhotoFiles


def request_listings(frame: pd.DataFrame, image_size: int) -> tuple[pd.DataFrame, ImageStore, dict[str, str]]:
    """Listings, photos and attribute texts by listing id; the ids are the rows' numbers.

    frame: `image_path` and `title`, and `attributes` with attribute texts or nulls if it has them.
    """
    ids = [str(row) for row in range(len(frame))]
    listings = pd.DataFrame(
        {"listing_id": ids, "title": frame["title"].tolist(), "image_path": frame["image_path"].tolist()},
        dtype=object,
    )
    texts = frame["attributes"].tolist() if "attributes" in frame else []
    attributes = {i: text for i, text in zip(ids, texts, strict=False) if isinstance(text, str) and text}
    photos = PhotoFiles(dict(zip(ids, listings["image_path"], strict=True)), image_size)
    return listings, cast(ImageStore, photos), attributes
