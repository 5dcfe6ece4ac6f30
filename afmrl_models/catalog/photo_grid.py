"""A picture of some listings: photos in a grid, titles below them."""

import math

import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from afmrl_models.catalog.images import ImageStore

_CELL, _CAPTION = 112, 28


def photo_grid(listings: pd.DataFrame, images: ImageStore, columns: int = 8) -> Image.Image:
    """The photos of these listings, `columns` a row, each above the beginning of its title (RGB)."""
    rows = max(1, math.ceil(len(listings) / columns))
    sheet = Image.new("RGB", (columns * _CELL, rows * (_CELL + _CAPTION)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=10)
    named = zip(listings["listing_id"].tolist(), listings["title"].tolist(), strict=True)
    for number, (listing_id, text) in enumerate(named):
        x, y = number % columns * _CELL, number // columns * (_CELL + _CAPTION)
        photo = images.get(listing_id).resize((_CELL - 6, _CELL - 6), Image.Resampling.BICUBIC)
        sheet.paste(photo, (x + 3, y + 3))
        title = " ".join(text.split())
        for line in range(2):
            pen.text(
                (x + 3, y + _CELL - 2 + 12 * line), title[line * 19 : line * 19 + 19], fill="black", font=font
            )
    return sheet
