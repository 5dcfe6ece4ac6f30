"""What surfaces are covered with: prints, weaves and brand marks."""

import random

from PIL import Image, ImageDraw

from afmrl_models.catalog.generated.colours import Colour, blend, darker, ink_on, lighter
from afmrl_models.catalog.generated.drawing.canvas import EDGE, Canvas, Point, curve, ring
from afmrl_models.catalog.generated.taxonomy import BRANDS


def cloth(
    pattern: str, colour: Colour, trim: Colour, material: str = "", *, pitch: float = 9.0, split: float = 55.0
) -> Image.Image:
    """A picture of the canvas's size: `pattern` in `trim` on `colour`, with the texture of `material`.

    `pitch` is the period of the print in units, `split` the height where a colour block begins.
    """
    image = Image.new("RGB", (EDGE, EDGE), colour)
    draw = ImageDraw.Draw(image)
    step = pitch * EDGE / 100
    _print(draw, pattern, trim, step, split * EDGE / 100)
    if material:
        _weave(draw, material, colour)
    return image


def _print(draw: ImageDraw.ImageDraw, pattern: str, trim: Colour, step: float, split: float) -> None:
    count = int(EDGE / step) + 2
    places = [i * step for i in range(-1, count)]
    if pattern in ("stripes", "checks"):
        for y in places:
            draw.rectangle((0, y, EDGE, y + step * 0.45), fill=trim)
    if pattern in ("pinstripes", "pleats"):
        for x in [i * step * 0.7 for i in range(int(count / 0.7) + 2)]:
            draw.rectangle((x, 0, x + step * 0.2, EDGE), fill=trim)
    elif pattern == "checks":
        for x in places:
            draw.rectangle((x, 0, x + step * 0.3, EDGE), fill=trim)
    elif pattern in ("dots", "floral", "hearts"):
        for row, y in enumerate(places):
            for x in places:
                _motif(draw, pattern, (x + (row % 2) * step / 2, y), step, trim)
    elif pattern == "zigzag":
        for y in places:
            points = [(i * step / 2, y + (step * 0.45 if i % 2 else 0.0)) for i in range(2 * count)]
            draw.line(points, fill=trim, width=round(step * 0.24), joint="curve")
    elif pattern == "colour block":
        draw.rectangle((0, split, EDGE, EDGE), fill=trim)
    elif pattern == "band":
        draw.rectangle((0, split, EDGE, split + 1.6 * step), fill=trim)


def _motif(draw: ImageDraw.ImageDraw, pattern: str, centre: Point, step: float, trim: Colour) -> None:
    x, y = centre
    if pattern == "dots":
        r = step * 0.24
        draw.ellipse((x - r, y - r, x + r, y + r), fill=trim)
    elif pattern == "floral":
        r = step * 0.16
        for dx, dy in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            draw.ellipse((x + dx * r - r, y + dy * r - r, x + dx * r + r, y + dy * r + r), fill=trim)
        draw.ellipse((x - r / 2, y - r / 2, x + r / 2, y + r / 2), fill=(244, 214, 90))
    else:
        r = step * 0.19
        draw.ellipse((x - 2 * r, y - r, x, y + r), fill=trim)
        draw.ellipse((x, y - r, x + 2 * r, y + r), fill=trim)
        draw.polygon([(x - 1.9 * r, y + r * 0.35), (x + 1.9 * r, y + r * 0.35), (x, y + 2.3 * r)], fill=trim)


def _weave(draw: ImageDraw.ImageDraw, material: str, colour: Colour) -> None:
    dark = darker(colour, 0.28) if sum(colour) > 190 else lighter(colour, 0.22)
    if material in ("ribbed knit", "corduroy"):
        step = 9 if material == "ribbed knit" else 14
        for x in range(0, EDGE, step):
            draw.line((x, 0, x, EDGE), fill=dark, width=2 if step == 9 else 5)
    elif material == "heather jersey":
        rng = random.Random("heather")
        for _ in range(900):
            x, y = rng.randrange(EDGE), rng.randrange(EDGE)
            draw.line((x, y, x + 6, y + 1), fill=dark, width=3)
    elif material in ("denim", "canvas"):
        for x in range(-EDGE, EDGE, 9):
            draw.line((x, 0, x + EDGE, EDGE), fill=dark, width=2)
    elif material == "mesh":
        for y in range(0, EDGE, 13):
            for x in range(0, EDGE, 13):
                draw.ellipse((x, y, x + 6, y + 6), fill=dark)
    elif material == "quilted leather":
        for x in range(-EDGE, 2 * EDGE, 38):
            draw.line((x, 0, x + EDGE, EDGE), fill=dark, width=4)
            draw.line((x, 0, x - EDGE, EDGE), fill=dark, width=4)
    elif material == "croc leather":
        for row, y in enumerate(range(0, EDGE, 24)):
            for x in range(-30 + (row % 2) * 15, EDGE, 30):
                draw.rounded_rectangle((x, y, x + 26, y + 20), 7, outline=dark, width=4)
    elif material == "woven straw":
        for row, y in enumerate(range(0, EDGE, 16)):
            for x in range(-32 + (row % 2) * 16, EDGE, 32):
                draw.rectangle((x, y, x + 16, y + 12), fill=dark)


def brand_mark(canvas: Canvas, brand: str, centre: Point, size: float, colour: Colour) -> None:
    """The brand's logo: a shape of its own, `size` units across."""
    x, y = centre
    r = size / 2
    number = BRANDS.index(brand)
    corners = (3, 4, 5, 6)[number % 4]
    style = number // 4
    if style == 0:
        canvas.fill(ring(centre, r, r, corners, -90), colour)
    elif style == 1:
        canvas.line([*ring(centre, r, r, corners, -90), (x, y - r)], colour, size * 0.16)
    elif style == 2:
        for i in range(corners - 1):
            canvas.line([(x - r + 2 * r * i / (corners - 2), y - r), (x - r, y + r)], colour, size * 0.14)
    else:
        canvas.line(
            curve(f"M {x - r} {y + r * (corners - 4) / 3} Q {x} {y + r} {x + r} {y - r}"), colour, size * 0.22
        )
        if corners % 2:
            canvas.ellipse((x, y - r * 0.4), r * 0.3, r * 0.3, colour)


def mark_on(canvas: Canvas, brand: str, centre: Point, size: float, surface: Colour) -> None:
    """The brand's logo in a colour that reads on `surface`."""
    brand_mark(canvas, brand, centre, size, blend(ink_on(surface), surface, 0.15))
