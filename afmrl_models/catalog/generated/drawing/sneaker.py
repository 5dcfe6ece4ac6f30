"""Sneakers from the side, toe to the left."""

from afmrl_models.catalog.generated.colours import Colour, darker, lighter, rgb
from afmrl_models.catalog.generated.drawing.canvas import Canvas, Point, curve
from afmrl_models.catalog.generated.drawing.paint import cloth, mark_on
from afmrl_models.catalog.generated.products import Product

_TOP = {"low": 43.0, "mid": 33.0, "high": 20.0}


def draw_sneaker(canvas: Canvas, product: Product) -> None:
    """A sneaker: upper, tongue, sole, side mark and closure."""
    have = product.attributes
    colour, trim, sole = rgb(have["colour"]), rgb(have["trim"]), rgb(have["sole"])
    surface = cloth("plain", colour, trim, have["material"] if have["material"] != "leather" else "")
    top = _TOP[have["height"]]
    toe = 55 + 2.5 * product.form[0]
    thick = 8.5 + 1.5 * product.form[1]
    front = 60 - 2 * (43 - top) / 23
    line = darker(colour, 0.5)
    canvas.fill(
        curve(
            f"M {front - 4} {top + 3} L {front} {top - 6} Q {front + 7} {top - 7} {front + 9} {top} "
            f"L 62 58 L 50 58"
        ),
        darker(colour, 0.25),
        outline=line,
    )
    canvas.fill(
        curve(f"M {front} {top + 1} Q 78 {top + 7} 90 {top - 1} L 84 62 L 60 62"), darker(colour, 0.6)
    )
    upper = curve(
        f"M 6 73 Q 4 {toe + 4} 16 {toe} Q 30 {toe - 1} {front - 4} {top + 2} "
        f"Q {front + 8} {top + 12} 80 {top + 7} Q 86 {top + 4} 90 {top - 2} Q 94 {top + 18} 94 73"
    )
    canvas.fill(upper, surface, shade=0.5, outline=line, width=0.9)
    if have["pattern"] == "colour block":
        canvas.fill(
            curve(f"M 67 73 Q 66 60 74 {top + 9} Q 86 {top + 5} 90 {top - 1} Q 94 {top + 18} 94 73"),
            trim,
            outline=line,
        )
    else:
        canvas.fill(curve(f"M 84 {top + 5} L 90 {top - 2} Q 94 {top + 18} 93 60 L 85 60"), trim, outline=line)
    if have["material"] == "leather":
        canvas.seam(curve(f"M 28 73 Q 30 62 24 {toe}"), colour, 0.9)
    elif have["material"] == "canvas":
        canvas.fill(
            curve(f"M 6 73 Q 4 {toe + 4} 15 {toe} Q 25 {toe + 4} 26 73"), lighter(sole, 0.2), outline=line
        )
    _side(canvas, have["pattern"], trim)
    canvas.fill(
        curve(f"M 4 71 L 95 71 Q 97 {71 + thick} 91 {72 + thick} L 12 {72 + thick} Q 3 {71 + thick} 4 71"),
        sole,
        shade=0.3,
        outline=darker(sole, 0.5),
    )
    canvas.line([(6, 75), (94, 75)], darker(sole, 0.25), 0.8)
    _closure(canvas, have["closure"], colour, trim, (front, top))
    mark_on(canvas, have["brand"], (79, 64), 6, trim if have["pattern"] == "colour block" else colour)


def _side(canvas: Canvas, pattern: str, trim: Colour) -> None:
    if pattern == "side stripe":
        canvas.line(curve("M 34 68 Q 56 68 74 56"), trim, 4.0)
    elif pattern == "three stripes":
        for x in (48.0, 56.0, 64.0):
            canvas.line([(x - 5, 70), (x + 4, 55)], trim, 3.2)
    elif pattern == "wave":
        canvas.line(curve("M 34 64 Q 42 56 49 64 Q 56 72 63 64 Q 68 58 74 62"), trim, 3.0)


def _closure(canvas: Canvas, style: str, colour: Colour, trim: Colour, throat: Point) -> None:
    """Laces, straps, an elastic panel or a zip on the slope from the toe to the opening."""
    end_x, end_y = throat[0] - 3, throat[1] + 4
    slope = [(33 + (end_x - 33) * t, 54 + (end_y - 54) * t) for t in (0.0, 0.25, 0.5, 0.75, 1.0)]
    if style == "laces":
        lace = (250, 250, 248) if sum(colour) < 560 else (60, 60, 66)
        for x, y in slope:
            canvas.line([(x - 1, y - 1), (x + 7, y + 6)], darker(colour, 0.4), 3.4)
            canvas.line([(x - 1, y - 1), (x + 7, y + 6)], lace, 2.2)
        canvas.line(curve(f"M {end_x} {end_y} Q {end_x - 9} {end_y - 9} {end_x - 8} {end_y + 3}"), lace, 1.4)
    elif style == "velcro":
        for x, y in (slope[0], slope[2], slope[4]):
            canvas.line([(x, y), (x + 13, y + 11)], darker(colour, 0.55), 7.4)
            canvas.line([(x, y), (x + 13, y + 11)], trim, 5.8)
    elif style == "slip-on":
        panel: list[Point] = [
            (end_x - 4, end_y + 4),
            (end_x + 9, end_y + 7),
            (end_x + 4, 66),
            (end_x - 8, 60),
        ]
        canvas.fill(panel, darker(colour, 0.6))
        for share in (0.2, 0.4, 0.6, 0.8):
            a = panel[0][0] + 13 * share, panel[0][1] + 3 * share
            b = panel[3][0] + 12 * share, panel[3][1] + 6 * share
            canvas.line([a, b], lighter(colour, 0.2), 0.9)
    else:
        zipper = [(end_x + 3, end_y + 1), (end_x - 8, 66)]
        canvas.line(zipper, (40, 40, 44), 4.6)
        canvas.line(zipper, (214, 216, 220), 1.8)
        canvas.box((end_x - 1, end_y + 3, end_x + 3, end_y + 11), (214, 216, 220), 1, (70, 70, 76))
