"""Dresses from the front."""

from PIL import Image

from afmrl_models.catalog.generated.colours import darker, rgb
from afmrl_models.catalog.generated.drawing.canvas import Canvas, Point, curve, flipped, symmetric
from afmrl_models.catalog.generated.drawing.paint import cloth
from afmrl_models.catalog.generated.products import Product

_TOP = 5.0
_WAIST = 36.0
_HALF = {"crew neck": 6.0, "v-neck": 6.5, "scoop neck": 8.5, "boat neck": 11.0, "square neck": 8.5}
_END = {"mini": 60.0, "knee": 72.0, "midi": 84.0, "maxi": 96.0}


def _neckline(style: str) -> list[Point]:
    left, right = 50 - _HALF[style], 50 + _HALF[style]
    return curve(
        f"M {left} {_TOP} "
        + {
            "crew neck": f"Q 50 {_TOP + 10} {right} {_TOP}",
            "v-neck": f"L 50 {_TOP + 18} {right} {_TOP}",
            "scoop neck": f"C {left + 1} {_TOP + 19} {right - 1} {_TOP + 19} {right} {_TOP}",
            "boat neck": f"Q 50 {_TOP + 5} {right} {_TOP}",
            "square neck": f"L {left + 1} {_TOP + 10} {right - 1} {_TOP + 10} {right} {_TOP}",
        }[style]
    )


def _sleeve(length: str) -> list[Point]:
    return {
        "cap": curve("M 37 7 Q 32 9 28 16 L 35 20 L 38 18"),
        "short": curve("M 37 7 Q 30 12 25 24 L 33 27 L 38 20"),
        "elbow": curve("M 37 7 Q 29 13 22 34 L 30 37 L 39 22"),
        "long": curve("M 37 7 Q 28 13 18 52 L 25 54 L 39 24"),
    }[length]


def draw_dress(canvas: Canvas, product: Product) -> None:
    """A dress: bodice, skirt, neck band, waist."""
    have = product.attributes
    colour, trim = rgb(have["colour"]), rgb(have["trim"])
    surface = cloth(have["pattern"], colour, trim, pitch=8 + 1.5 * product.form[0], split=_WAIST)
    line = darker(colour, 0.45)
    waist = 38.5 - product.form[1]
    if have["sleeve"] != "sleeveless":
        left = _sleeve(have["sleeve"])
        for side in (left, flipped(left)):
            canvas.fill(side, surface, shade=0.6, outline=line)
            canvas.line([side[-3], side[-2]], trim, 2.0)
    _skirt(canvas, product, waist, surface)
    half = _HALF[have["neckline"]]
    front = _neckline(have["neckline"])
    body = curve(f"M {50 - half} {_TOP} L 37 7 Q 40 14 36 21 Q 37 30 {waist} {_WAIST} L 50 {_WAIST}")
    canvas.fill([*symmetric(body), *reversed(front)], surface, shade=0.7, outline=line)
    back = curve(f"M {50 + half} {_TOP} Q 50 {_TOP + 3} {50 - half} {_TOP}")
    canvas.fill([*front, *back], darker(colour, 0.5))
    canvas.line(front, trim, 2.2)
    _waist(canvas, have["waist"], waist, trim)


def _skirt(canvas: Canvas, product: Product, waist: float, surface: Image.Image) -> None:
    have = product.attributes
    colour = rgb(have["colour"])
    end = _END[have["length"]]
    drop = end - _WAIST
    if have["skirt"] == "pencil":
        half = curve(f"M {waist} {_WAIST} Q 34 {_WAIST + 8} 34.5 {_WAIST + 16} L 37 {end} L 50 {end + 1}")
        canvas.fill(symmetric(half), surface, shade=0.8, outline=darker(colour, 0.45))
        return
    wide = waist - drop * (0.42 + 0.06 * product.form[2])
    half = curve(
        f"M {waist} {_WAIST} Q {waist - 3} {_WAIST + drop * 0.4} {wide} {end - 1} Q 40 {end + 3} 50 {end + 2}"
    )
    canvas.fill(symmetric(half), surface, shade=0.8, outline=darker(colour, 0.45))
    if have["skirt"] == "tiered":
        for share in (0.36, 0.7):
            y = _WAIST + drop * share
            x = waist + (wide - waist) * share**1.15
            ruffle = curve(f"M {x} {y} Q 50 {y + 5} {100 - x} {y}")
            canvas.line(ruffle, darker(colour, 0.5), 1.3)
            canvas.line([(px, py - 1.6) for px, py in ruffle], rgb(have["trim"]), 1.3)
    else:
        for x in (43.0, 50.0, 57.0):
            away = 50 + (x - 50) * 2.1
            canvas.seam([(x, _WAIST + 6), (away, end - 2)], colour)


def _waist(canvas: Canvas, style: str, left: float, trim: tuple[int, int, int]) -> None:
    if style == "plain":
        return
    canvas.box((left - 0.6, _WAIST - 2.2, 100.6 - left, _WAIST + 2.2), trim, 0.8, darker(trim, 0.4))
    if style == "belt":
        canvas.box((46.5, _WAIST - 3.2, 53.5, _WAIST + 3.2), (214, 176, 84), 1.0, (90, 70, 30))
        canvas.box((48.3, _WAIST - 1.4, 51.7, _WAIST + 1.4), trim)
        return
    for points in (
        bow := curve(f"M 50 {_WAIST} Q 39 {_WAIST - 8} 38 {_WAIST} Q 39 {_WAIST + 6} 50 {_WAIST}"),
        flipped(bow),
    ):
        canvas.fill(points, trim, outline=darker(trim, 0.4))
    for points in (tail := curve(f"M 50 {_WAIST} L 44 {_WAIST + 15} L 48 {_WAIST + 14}"), flipped(tail)):
        canvas.fill(points, trim, outline=darker(trim, 0.4))
