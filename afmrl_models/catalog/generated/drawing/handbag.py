"""Handbags from the front."""

from itertools import pairwise

from afmrl_models.catalog.generated.colours import Colour, darker, lighter, rgb
from afmrl_models.catalog.generated.drawing.canvas import Canvas, Point, curve, symmetric
from afmrl_models.catalog.generated.drawing.paint import cloth, mark_on
from afmrl_models.catalog.generated.products import Product


def _body(shape: str, wide: float, low: float) -> list[Point]:
    """Left half of the outline; the opening lies at a height of 44 units."""
    return {
        "tote": curve(f"M {17 - wide} 44 L {24 - wide} {low} Q 25 {low + 2} 28 {low + 2} L 50 {low + 2}"),
        "satchel": curve(
            f"M {23 - wide} 44 Q {15 - wide} 46 {14 - wide} 56 L {13 - wide} {low - 4} "
            f"Q 13 {low} 20 {low} L 50 {low}"
        ),
        "bucket": curve(f"M {30 - wide} 44 L {24 - wide} {low} Q 26 {low + 5} 50 {low + 5}"),
        "half-moon": curve(f"M {12 - wide} 44 Q {9 - wide} {low + 2} 50 {low}"),
        "trapeze": curve(f"M {29 - wide} 44 L {9 - wide} {low - 4} Q 10 {low} 15 {low} L 50 {low}"),
    }[shape]


def draw_handbag(canvas: Canvas, product: Product) -> None:
    """A handbag: handle behind, body, closure, fittings."""
    have = product.attributes
    colour, metal = rgb(have["colour"]), rgb(have["hardware"])
    surface = cloth("plain", colour, metal, have["material"])
    half = _body(have["shape"], 2 * product.form[0], 86 + 4 * product.form[1])
    edge = half[0][0]
    _handle(canvas, have["handle"], edge, colour, metal)
    canvas.fill(symmetric(half), surface, shade=0.8, outline=darker(colour, 0.5), width=1.0)
    canvas.line([(edge + 1, 45), (99 - edge, 45)], darker(colour, 0.35), 2.0)
    for x in (edge + 5, 95 - edge):
        canvas.ellipse((x, 48), 2.6, 2.6, metal, darker(metal, 0.5))
    _closure(canvas, have["closure"], edge, colour, metal)
    mark_on(canvas, have["brand"], (68, 78), 7, colour)


def _handle(canvas: Canvas, style: str, edge: float, colour: Colour, metal: Colour) -> None:
    left, right = edge + 5, 95 - edge
    dark = darker(colour, 0.3)
    if style == "long strap":
        arch = curve(f"M {left} 46 C {left + 4} -6 {right - 4} -6 {right} 46")
        canvas.line(arch, darker(dark, 0.4), 4.0)
        canvas.line(arch, dark, 2.8)
    elif style == "chain":
        arch = curve(f"M {left} 46 C {left + 6} 4 {right - 6} 4 {right} 46")
        for (x, y), (u, v) in pairwise(arch):
            canvas.ellipse(((x + u) / 2, (y + v) / 2), 2.5, 2.5, None, darker(metal, 0.45), 1.6)
        for x, y in arch:
            canvas.ellipse((x, y), 2.0, 2.0, metal, darker(metal, 0.3))
    else:
        tops = (24.0,) if style == "single" else (16.0, 27.0)
        for number, top in enumerate(tops):
            inset = 6 + 4 * number
            arch = curve(
                f"M {left + inset} 46 "
                f"C {left + inset + 1} {top - 8} {right - inset - 1} {top - 8} {right - inset} 46"
            )
            canvas.line(arch, darker(dark, 0.5), 5.6)
            canvas.line(arch, dark if number == 0 else colour, 4.2)


def _closure(canvas: Canvas, style: str, edge: float, colour: Colour, metal: Colour) -> None:
    rim = darker(metal, 0.5)
    if style == "flap":
        flap = symmetric(curve(f"M {edge + 1} 43 Q {edge + 2} 62 40 66 L 50 67"))
        canvas.fill(flap, lighter(colour, 0.12), shade=0.5, outline=darker(colour, 0.55), width=1.0)
        canvas.ellipse((50, 62), 2.8, 2.8, metal, rim)
    elif style == "zip":
        canvas.line([(edge + 4, 51), (96 - edge, 51)], darker(colour, 0.65), 4.2)
        canvas.line([(edge + 4, 51), (96 - edge, 51)], metal, 1.6)
        canvas.box((92 - edge, 51, 96 - edge, 61), metal, 1.2, rim)
    elif style == "clasp":
        canvas.line([(edge, 43), (100 - edge, 43)], metal, 4.6)
        canvas.ellipse((47.5, 39), 3.2, 3.2, metal, rim)
        canvas.ellipse((52.5, 39), 3.2, 3.2, metal, rim)
    else:
        strap = [(45.0, 43.0), (55.0, 43.0), (55.0, 70.0), (50.0, 74.0), (45.0, 70.0)]
        canvas.fill(strap, darker(colour, 0.3), outline=darker(colour, 0.6))
        canvas.box((42, 56, 58, 66), metal, 1.5, rim)
        canvas.box((45.5, 59, 54.5, 63), darker(colour, 0.3))
