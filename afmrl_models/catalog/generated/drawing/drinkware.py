"""Mugs and drinking bottles."""

from afmrl_models.catalog.generated.colours import Colour, blend, darker, ink_on, lighter, rgb
from afmrl_models.catalog.generated.drawing.canvas import Canvas, Point, curve, symmetric
from afmrl_models.catalog.generated.drawing.paint import cloth, mark_on
from afmrl_models.catalog.generated.products import Product


def draw_mug(canvas: Canvas, product: Product) -> None:
    """A mug seen a little from above, its handle to the right."""
    have = product.attributes
    colour, trim = rgb(have["colour"]), rgb(have["trim"])
    surface = cloth(have["pattern"], colour, trim, pitch=12 + 2 * product.form[0], split=48)
    line = darker(colour, 0.5)
    low = 84 + 3 * product.form[1]
    left = 15 + 2 * product.form[2]
    right = 70.0
    _mug_handle(canvas, have["handle"], darker(colour, 0.1), line)
    side = {
        "straight": ("L {l} {low}", "L {r} 26"),
        "tapered": ("L {l9} {low}", "L {r} 26"),
        "barrel": ("Q {lo} 55 {l3} {low}", "Q {ro} 55 {r} 26"),
        "belly": ("Q {l3} 42 {lo2} 62 Q {l3} 80 {l9} {low}", "Q {r3} 80 {ro2} 62 Q {r3} 42 {r} 26"),
    }[have["shape"]]
    at = {
        "l": left, "r": right, "low": low, "l9": left + 10, "l3": left + 4, "r3": right - 4,
        "lo": left - 8, "ro": right + 8, "lo2": left - 3, "ro2": right + 3,
    }  # fmt: skip
    bottom = {"straight": 0.0, "tapered": 10.0, "barrel": 4.0, "belly": 10.0}[have["shape"]]
    path = f"M {left} 26 {side[0]} Q {(left + right) / 2} {low + 9} {right - bottom} {low} {side[1]}".format(
        **at
    )
    canvas.fill(curve(path), surface, shade=0.9, outline=line, width=0.9)
    middle = (left + right) / 2
    canvas.ellipse((middle, 26), (right - left) / 2, 6.5, lighter(colour, 0.15), line)
    canvas.ellipse((middle, 26.4), (right - left) / 2 - 2.4, 5.0, rgb(have["inside"]), line)
    mark_on(canvas, have["brand"], (middle, 75), 7, colour)


def _mug_handle(canvas: Canvas, style: str, colour: Colour, line: Colour) -> None:
    path = {
        "round": "M 66 38 C 98 34 98 74 66 70",
        "square": "M 66 38 L 88 38 L 88 70 L 66 70",
        "ear": "M 66 36 C 100 24 94 58 66 74",
        "none": "",
    }[style]
    if path:
        points = curve(path)
        canvas.line(points, line, 7.4)
        canvas.line(points, colour, 5.8)


def _bottle_half(shape: str, wide: float) -> list[Point]:
    """Left half of the body, from the neck at a height of 24 units to the bottom."""
    left = {"slim": 34.0, "wide": 27.0, "shouldered": 30.0, "waisted": 30.0}[shape] - 1.5 * wide
    middle = {
        "slim": f"M 41 24 Q {left} 26 {left} 36 L {left} 90",
        "wide": f"M 41 24 Q {left} 25 {left} 34 L {left} 90",
        "shouldered": f"M 43 24 L 43 32 Q {left} 36 {left} 48 L {left} 90",
        "waisted": f"M 42 24 Q {left} 27 {left} 38 Q {left + 8} 54 {left} 72 L {left} 90",
    }[shape]
    return curve(middle + f" Q {left} 95 {left + 5} 95 L 50 95")


def draw_bottle(canvas: Canvas, product: Product) -> None:
    """A drinking bottle with its volume printed on it."""
    have = product.attributes
    colour, cap = rgb(have["colour"]), rgb(have["cap"])
    body = blend(colour, (235, 244, 248), 0.3) if have["material"] == "glass" else colour
    half = _bottle_half(have["shape"], product.form[0])
    print_colour = lighter(body, 0.5) if sum(body) < 300 else darker(body, 0.35)
    surface = cloth(have["pattern"], body, print_colour, pitch=9, split=78)
    canvas.fill(
        symmetric(half),
        surface,
        shade=1.0 if have["material"] == "steel" else 0.6,
        outline=darker(colour, 0.5),
        width=0.9,
    )
    left = half[-3][0]
    if have["material"] == "steel":
        canvas.fill([(left, 86), (100 - left, 86), (100 - left, 91), (left, 91)], (196, 200, 206), shade=0.8)
    elif have["material"] == "glass":
        canvas.line([(left + 5, 42), (left + 5, 86)], (255, 255, 255), 2.4)
        canvas.line(curve(f"M {left + 2} 40 Q 50 44 {98 - left} 40"), darker(body, 0.25), 1.0)
    else:
        for y in (84.0, 87.5, 91.0):
            canvas.line([(left + 1, y), (99 - left, y)], darker(body, 0.3), 0.8)
    ink = ink_on(body)
    number, unit = have["volume"].split()
    canvas.box((left + 2, 50, 98 - left, 73), body, 2, ink)
    canvas.text((50, 58), number, 14, ink, widest=93 - 2 * left)
    canvas.text((50, 68), unit, 8, ink)
    mark_on(canvas, have["brand"], (50, 44), 8, body)
    _cap(canvas, have["closure"], cap)


def _cap(canvas: Canvas, style: str, cap: Colour) -> None:
    line = darker(cap, 0.5)
    if style == "loop cap":
        canvas.ellipse((50, 8.5), 7.5, 6.5, None, line, 4.0)
        canvas.ellipse((50, 8.5), 7.1, 6.1, None, cap, 2.8)
    elif style == "flip top":
        canvas.fill(curve("M 40 14 Q 44 2 62 4 L 64 8 L 58 14"), cap, outline=line)
    elif style == "sports cap":
        canvas.box((45, 3, 55, 14), lighter(cap, 0.35), 2, line)
        canvas.line([(45, 8), (55, 8)], line, 0.9)
    canvas.box((39, 13, 61, 25), cap, 1.5, line)
    for x in (43.0, 46.5, 50.0, 53.5, 57.0):
        canvas.line([(x, 15), (x, 23)], darker(cap, 0.25), 0.9)
