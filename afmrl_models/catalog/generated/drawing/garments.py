"""T-shirts and shirts, laid flat."""

from afmrl_models.catalog.generated.colours import darker, ink_on, lighter, rgb
from afmrl_models.catalog.generated.drawing.canvas import Canvas, Point, curve, flipped, symmetric
from afmrl_models.catalog.generated.drawing.paint import cloth, mark_on
from afmrl_models.catalog.generated.products import Product

# How far the neck opening reaches out from the middle, and the curve of its front between two ends.
_NECK_HALF_WIDTH = {
    "crew neck": 9.0,
    "v-neck": 9.5,
    "scoop neck": 12.0,
    "boat neck": 17.0,
    "square neck": 12.0,
}
_TOP = 15.0


def neckline(style: str) -> list[Point]:
    """The front edge of a neckline from its left to its right end."""
    half = _NECK_HALF_WIDTH[style]
    left, right = 50 - half, 50 + half
    front = {
        "crew neck": f"Q 50 {_TOP + 13} {right} {_TOP}",
        "v-neck": f"L 50 {_TOP + 23} {right} {_TOP}",
        "scoop neck": f"C {left + 1} {_TOP + 27} {right - 1} {_TOP + 27} {right} {_TOP}",
        "boat neck": f"Q 50 {_TOP + 7} {right} {_TOP}",
        "square neck": f"L {left + 1} {_TOP + 15} {right - 1} {_TOP + 15} {right} {_TOP}",
    }
    return curve(f"M {left} {_TOP} {front[style]}")


def sleeve(length: str) -> list[Point]:
    """The left sleeve: shoulder, outer end, inner end, armpit."""
    return {
        "cap": curve("M 31 17 Q 24 22 20 31 L 28 35 L 33 34"),
        "short": curve("M 31 17 Q 22 24 14 41 L 25 47 L 34 38"),
        "elbow": curve("M 31 17 Q 20 26 11 55 L 23 59 L 34 40"),
        "long": curve("M 31 17 Q 19 26 8 82 L 17.5 85 L 34 42"),
    }[length]


def _hem(points: list[Point]) -> list[Point]:
    return [points[-3], points[-2]]


def draw_neck(canvas: Canvas, style: str, trim: tuple[int, int, int], inside: tuple[int, int, int]) -> None:
    """The inside of the back seen through the neck opening, and the band around it."""
    front = neckline(style)
    back = curve(f"M {front[-1][0]} {front[-1][1]} Q 50 {_TOP + 4} {front[0][0]} {front[0][1]}")
    canvas.fill([*front, *back], darker(inside, 0.5))
    canvas.line(back, darker(trim, 0.15), 1.8)
    canvas.line(front, trim, 2.8)


def draw_t_shirt(canvas: Canvas, product: Product) -> None:
    """A T-shirt from the front."""
    have = product.attributes
    colour, trim = rgb(have["colour"]), rgb(have["trim"])
    surface = cloth(have["pattern"], colour, trim, have["material"], pitch=10 + 2 * product.form[0])
    line = darker(colour, 0.45)
    wide, long = 2 * product.form[1], 86 + 4 * product.form[2]
    if have["sleeve"] != "sleeveless":
        left = sleeve(have["sleeve"])
        for side in (left, flipped(left)):
            canvas.fill(side, surface, shade=0.6, outline=line)
            canvas.line(_hem(side), trim, 2.6)
    half = _NECK_HALF_WIDTH[have["neckline"]]
    body = curve(
        f"M {50 - half} {_TOP} L 31 17 Q 35 28 {31 - wide} 40 L {30 - wide} {long} "
        f"Q 40 {long + 2} 50 {long + 2}"
    )
    front = neckline(have["neckline"])
    outline = [*symmetric(body), *reversed(front)]
    canvas.fill(outline, surface, shade=0.75, outline=line)
    draw_neck(canvas, have["neckline"], trim, colour)
    if have["sleeve"] == "sleeveless":
        arm = curve(f"M 31 17 Q 35 28 {31 - wide} 40")
        canvas.line(arm, trim, 2.2)
        canvas.line(flipped(arm), trim, 2.2)
    mark_on(canvas, have["brand"], (60, 36), 7, colour)


def draw_shirt(canvas: Canvas, product: Product) -> None:
    """A buttoned shirt from the front, with a contrasting collar, cuffs and button band."""
    have = product.attributes
    colour, trim = rgb(have["colour"]), rgb(have["trim"])
    surface = cloth(have["pattern"], colour, trim, have["material"], pitch=9 + 2 * product.form[0])
    line = darker(colour, 0.45)
    wide, long = 2 * product.form[1], 87 + 3 * product.form[2]
    left = sleeve({"short": "short", "rolled": "elbow", "long": "long"}[have["sleeve"]])
    for side in (left, flipped(left)):
        canvas.fill(side, surface, shade=0.6, outline=line)
        canvas.line(_hem(side), trim, {"short": 1.2, "rolled": 5.0, "long": 4.0}[have["sleeve"]])
    body = curve(
        f"M 42 13 L 31 17 Q 34 28 {31 - wide} 42 L {30 - wide} {long - 4} "
        f"Q {33 - wide} {long + 3} 50 {long + 2}"
    )
    canvas.fill(symmetric(body), surface, shade=0.75, outline=line)
    canvas.fill(
        [(47.2, 18), (52.8, 18), (52.8, long + 2), (47.2, long + 2)],
        lighter(colour, 0.12),
        outline=line,
        width=0.5,
    )
    count = int(have["buttons"])
    first, last = 28.0, long - 5
    for number in range(count):
        y = first + (last - first) * number / (count - 1)
        canvas.ellipse((50, y), 1.9, 1.9, ink_on(colour), darker(colour, 0.3))
    _pockets(canvas, int(have["pockets"]), trim, colour)
    _collar(canvas, have["collar"], trim, colour)


def _pockets(canvas: Canvas, count: int, trim: tuple[int, int, int], colour: tuple[int, int, int]) -> None:
    pocket: list[Point] = [(57, 37), (67, 37), (67, 47), (62, 50), (57, 47)]
    for points in (pocket, flipped(pocket))[:count]:
        canvas.fill(points, lighter(colour, 0.08), outline=darker(colour, 0.5), width=0.8)
        canvas.line(points[:2], trim, 2.2)


def _collar(canvas: Canvas, style: str, trim: tuple[int, int, int], colour: tuple[int, int, int]) -> None:
    canvas.fill(curve("M 41 13 Q 50 9 59 13 L 50 24"), darker(colour, 0.5))
    outline = darker(trim, 0.45)
    if style == "band":
        canvas.fill(curve("M 40 13 Q 50 27 60 13 L 60 18 Q 50 31 40 18"), trim, outline=outline)
        return
    wing = {
        "point": curve("M 41 12 L 50 22 L 43 34 L 36 17"),
        "camp": curve("M 41 12 L 49 33 L 40 36 L 41 28 L 31 26 L 36 15"),
        "wing": curve("M 41 11 L 50 20 L 46 23 L 33 27 L 36 15"),
    }[style]
    for side in (wing, flipped(wing)):
        canvas.fill(side, trim, outline=outline)
