"""Photos of one drawn product by different sellers: framing, ground, shadow, light, JPEG."""

import io
import math
import random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from afmrl_models.catalog.generated.colours import darker
from afmrl_models.catalog.generated.sellers import Seller

PHOTO_EDGE = 144


def photograph(layer: Image.Image, seller: Seller, rng: random.Random, *, may_flip: bool) -> Image.Image:
    """An RGB photo, PHOTO_EDGE pixels square, of a product on a transparent ground."""
    flip = may_flip and rng.random() < 0.25
    placed = _placed(layer, seller, rng, flip)
    photo = _ground(seller, rng)
    alpha = placed.getchannel("A")
    fall = (rng.randint(-4, 5), rng.randint(2, 6))
    shadow = alpha.filter(ImageFilter.BoxBlur(4)).point([value * 2 // 5 for value in range(256)])
    photo.paste((30, 28, 32), fall, shadow)
    photo.paste(placed, (0, 0), placed)
    if rng.random() < seller.badge:
        _badge(photo, rng)
    return photo.point(_light(seller, rng))


def jpeg(photo: Image.Image, seller: Seller) -> bytes:
    """The photo as the seller's camera stores it."""
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=seller.quality)
    return buffer.getvalue()


def _placed(layer: Image.Image, seller: Seller, rng: random.Random, flip: bool) -> Image.Image:
    """The layer scaled, turned, shifted and perhaps flipped into the photo's frame."""
    scale = PHOTO_EDGE / layer.width * seller.size * rng.uniform(0.95, 1.05)
    angle = math.radians(rng.uniform(-seller.tilt, seller.tilt))
    spare = 0.04 * PHOTO_EDGE
    x = PHOTO_EDGE / 2 + rng.uniform(-spare, spare)
    y = PHOTO_EDGE / 2 + rng.uniform(-spare, spare)
    a, b = math.cos(angle) / scale, math.sin(angle) / scale
    mirror = -1 if flip else 1
    middle = layer.width / 2
    inverse = (
        mirror * a, mirror * b, middle - mirror * (a * x + b * y),
        -b, a, middle + b * x - a * y,
    )  # fmt: skip
    return layer.transform(
        (PHOTO_EDGE, PHOTO_EDGE), Image.Transform.AFFINE, inverse, resample=Image.Resampling.BICUBIC
    )


def _ground(seller: Seller, rng: random.Random) -> Image.Image:
    edge = PHOTO_EDGE
    first, second = seller.ground_colours
    if seller.ground == "white":
        return Image.new("RGB", (edge, edge), (255, 255, 255))
    photo = Image.new("RGB", (edge, edge), first)
    draw = ImageDraw.Draw(photo)
    if seller.ground == "gradient":
        photo.paste(second, (0, 0), Image.linear_gradient("L").resize((edge, edge)))
    elif seller.ground == "table":
        draw.rectangle((0, edge * rng.uniform(0.55, 0.75), edge, edge), fill=second)
    elif seller.ground == "boards":
        offset = rng.randrange(24)
        for x in range(offset - 24, edge, 24):
            draw.rectangle((x, 0, x + 23, edge), fill=second if (x // 24) % 2 else first)
            draw.line((x, 0, x, edge), fill=darker(second, 0.3))
    return photo


def _badge(photo: Image.Image, rng: random.Random) -> None:
    draw = ImageDraw.Draw(photo)
    x, y = rng.choice(((18, 18), (PHOTO_EDGE - 18, 18), (18, PHOTO_EDGE - 18)))
    draw.ellipse(
        (x - 16, y - 16, x + 16, y + 16), fill=rng.choice(((214, 30, 40), (250, 200, 30), (30, 120, 60)))
    )
    words = rng.choice(("-20%", "SALE", "NEW", "TOP"))
    draw.text((x, y), words, fill=(255, 255, 255), anchor="mm", font=ImageFont.load_default(10))


def _light(seller: Seller, rng: random.Random) -> list[int]:
    """One lookup table a channel for brightness, contrast and colour cast."""
    brightness = seller.brightness * rng.uniform(0.93, 1.07)
    centred = (np.arange(256) - 128) * seller.contrast + 128
    gains = [brightness * cast * rng.uniform(0.97, 1.03) for cast in seller.cast]
    table: list[int] = np.clip(np.rint(np.outer(gains, centred)), 0, 255).astype(int).ravel().tolist()
    return table
