"""Sunglasses from the front, temples folded back."""

from PIL import Image

from afmrl_models.catalog.generated.colours import Colour, blend, darker, lighter, rgb
from afmrl_models.catalog.generated.drawing.canvas import EDGE, Canvas, Point, curve, flipped, placed, ring
from afmrl_models.catalog.generated.drawing.paint import mark_on
from afmrl_models.catalog.generated.products import Product

_AVIATOR = "M -1 -0.75 L 0.8 -0.8 Q 1.3 0 0.4 1 Q -0.6 1.3 -1.05 0 L -1 -0.75"
_CAT_EYE = "M -1.3 -1.1 Q 0 -0.7 0.95 -0.6 Q 1.1 0.8 0 0.8 Q -0.9 0.8 -1.3 -1.1"
_WAYFARER = "M -1.15 -0.8 L 1.05 -0.65 Q 1 0.85 0 0.85 Q -0.85 0.85 -1.15 -0.8"


def _lens(shape: str, grow: float) -> list[Point]:
    """Outline of the left lens."""
    cx, cy = 27.5, 52.0
    r = 17.0 + grow
    return {
        "round": ring((cx, cy), r, r),
        "square": ring((cx, cy), r * 1.32, r * 1.18, 4, 45),
        "hexagonal": ring((cx, cy), r * 1.1, r * 1.08, 6),
        "aviator": placed(curve(_AVIATOR), (cx, cy), r),
        "cat-eye": placed(curve(_CAT_EYE), (cx, cy), r),
        "wayfarer": placed(curve(_WAYFARER), (cx, cy), r),
    }[shape]


def _glass(finish: str, lens: Colour) -> Colour | Image.Image:
    if finish == "plain":
        return lens
    pale = blend(lens, (246, 246, 250), 0.8)
    stripe = Image.new("RGB", (1, 100))
    for y in range(100):
        share = min(1.0, max(0.0, (y - 36) / 34))
        if finish == "mirrored":
            share = 0.9 if 40 <= y < 47 or 52 <= y < 55 else 0.0
        stripe.putpixel((0, y), blend(lens, pale, share))
    return stripe.resize((EDGE, EDGE), Image.Resampling.BILINEAR)


def draw_sunglasses(canvas: Canvas, product: Product) -> None:
    """Sunglasses: temples, lenses, rims, bridge."""
    have = product.attributes
    colour = rgb(have["colour"])
    glass = _glass(have["finish"], rgb(have["lens"]))
    lens = _lens(have["shape"], product.form[0])
    line = darker(colour, 0.45)
    width = {"thick": 5.6, "thin": 2.0, "half": 2.0}[have["rim"]]
    top = min(y for _, y in lens)
    outer = min(x for x, _ in lens)
    temple = curve(
        f"M {outer + 1} {top + 5} Q {outer - 1} {top - 4} {outer + 9} 27 L {outer + 12} 27 "
        f"Q {outer + 4} {top - 2} {outer + 5} {top + 3}"
    )
    for arm in (temple, flipped(temple)):
        canvas.fill(arm, darker(colour, 0.35), outline=line, width=0.5)
    inner = max(x for x, _ in lens)
    canvas.line(curve(f"M {inner - 2} 50 Q 50 42 {102 - inner} 50"), line, 3.8)
    canvas.line(curve(f"M {inner - 2} 50 Q 50 42 {102 - inner} 50"), colour, 2.8)
    if have["bridge"] == "double":
        canvas.line([(inner - 7, top + 2.5), (107 - inner, top + 2.5)], line, 4.0)
        canvas.line([(inner - 7, top + 2.5), (107 - inner, top + 2.5)], colour, 3.0)
    for side in (lens, flipped(lens)):
        canvas.fill(side, glass)
        if have["rim"] == "half":
            canvas.line([*side, side[0]], darker(rgb(have["lens"]), 0.3), 0.7)
            upper = [point for point in [*side, side[0]] if point[1] <= 50]
            upper.sort()
            canvas.line(upper, colour, 5.2)
        else:
            canvas.line([*side, side[0], side[1]], line, width + 1.0)
            canvas.line([*side, side[0], side[1]], colour, width)
        x = min(point[0] for point in side)
        canvas.line([(x + 9, 46), (x + 13, 42)], lighter(rgb(have["lens"]), 0.6), 1.4)
    mark_on(canvas, have["brand"], (outer + 3, top + 3), 3, colour)
