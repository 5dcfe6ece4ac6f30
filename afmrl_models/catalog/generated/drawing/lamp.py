"""Table lamps."""

from afmrl_models.catalog.generated.colours import Colour, darker, lighter, rgb
from afmrl_models.catalog.generated.drawing.canvas import Canvas, Point, curve, ring, symmetric
from afmrl_models.catalog.generated.drawing.paint import cloth, mark_on
from afmrl_models.catalog.generated.products import Product


def _shade(shape: str, wide: float) -> list[Point]:
    w = 2 * wide
    if shape == "globe":
        return ring((50, 29), 23 + wide, 22 + wide)
    return symmetric(
        curve(
            {
                "cone": f"M 50 7 L 40 7 L {20 - w} 48 L 50 48",
                "drum": f"M 50 10 L {25 - w} 10 L {23 - w} 46 L 50 46",
                "dome": f"M 50 8 C {30 - w} 8 {20 - w} 26 {19 - w} 46 L 50 46",
                "bell": f"M 50 6 L 42 6 Q 41 30 {20 - w} 48 L 50 48",
            }[shape]
        )
    )


def draw_lamp(canvas: Canvas, product: Product) -> None:
    """A table lamp: base, shade, trim along the shade's lower edge."""
    have = product.attributes
    colour, trim, metal = rgb(have["colour"]), rgb(have["trim"]), rgb(have["metal"])
    _base(canvas, have["base"], metal)
    surface = cloth(have["pattern"], colour, trim, pitch=10 + 1.5 * product.form[1])
    shade = _shade(have["shade"], product.form[0])
    canvas.fill(shade, surface, shade=0.8, outline=darker(colour, 0.45), width=0.9)
    if have["shade"] == "globe":
        canvas.line(curve("M 40 50 Q 50 53 60 50"), trim, 3.6)
    else:
        low = max(y for _, y in shade)
        left = min(x for x, _ in shade)
        canvas.line([(left + 1, low - 1), (99 - left, low - 1)], trim, 3.0)
    mark_on(canvas, have["brand"], (50, 36), 6, colour)


def _base(canvas: Canvas, style: str, metal: Colour) -> None:
    line = darker(metal, 0.5)
    if style == "tripod":
        for foot in (26.0, 50.0, 74.0):
            canvas.line([(50, 46), (foot, 95)], line, 4.4)
            canvas.line([(50, 46), (foot, 95)], metal, 3.2)
        return
    if style == "arc":
        arc = curve("M 50 44 C 50 66 88 58 80 92")
        canvas.line(arc, line, 4.6)
        canvas.line(arc, metal, 3.4)
        canvas.box((56, 90, 94, 96), metal, 2, line)
        return
    canvas.box((48, 44, 52, 90), metal, 0, line)
    if style == "stem":
        canvas.fill(symmetric(curve("M 50 88 Q 34 89 32 96 L 50 96")), metal, shade=0.6, outline=line)
    elif style == "ball":
        canvas.fill(ring((50, 76), 15, 15), metal, shade=0.9, outline=line)
        canvas.box((40, 90, 60, 96), metal, 1.5, line)
        canvas.ellipse((45, 70), 3, 3, lighter(metal, 0.5))
    else:
        canvas.fill([(35, 62), (65, 62), (65, 96), (35, 96)], metal, shade=0.6, outline=line)
