"""The same product as another seller might show it: what a model in training is shown instead of a photo."""

import numpy as np
from PIL import Image, ImageEnhance

LEAST_CROP = 0.8  # of each edge
LIGHT = 0.2  # largest change of brightness and of contrast; colours keep their hue


def vary(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The photo mirrored or not, cropped, brighter or darker, flatter or harder; of the same size."""
    if rng.random() < 0.5:
        photo = photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    width, height = photo.size
    share_x, share_y = rng.uniform(LEAST_CROP, 1, 2)
    left, top = rng.random() * (1 - share_x) * width, rng.random() * (1 - share_y) * height
    box = (left, top, left + share_x * width, top + share_y * height)
    photo = photo.resize((width, height), Image.Resampling.BILINEAR, box=box)
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast):
        photo = enhance(photo).enhance(rng.uniform(1 - LIGHT, 1 + LIGHT))
    return photo
