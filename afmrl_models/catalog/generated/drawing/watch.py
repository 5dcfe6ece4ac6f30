"""Wristwatches from the front."""

import math

from afmrl_models.catalog.generated.colours import Colour, darker, ink_on, lighter, rgb
from afmrl_models.catalog.generated.drawing.canvas import Canvas, Point, curve, placed, ring, symmetric
from afmrl_models.catalog.generated.drawing.paint import mark_on
from afmrl_models.catalog.generated.products import Product

_CENTRE: Point = (50, 50)


def _case(shape: str, radius: float) -> list[Point]:
    if shape == "round":
        return ring(_CENTRE, radius, radius)
    if shape == "octagonal":
        return ring(_CENTRE, radius * 1.06, radius * 1.06, 8, 22.5)
    if shape == "square":
        half = curve(
            "M 0 -0.92 L -0.8 -0.92 Q -0.92 -0.92 -0.92 -0.8 L -0.92 0.8 Q -0.92 0.92 -0.8 0.92 L 0 0.92"
        )
    else:
        half = curve("M 0 -1.12 L -0.72 -1.12 Q -1.08 0 -0.72 1.12 L 0 1.12")
    return symmetric(placed(half, _CENTRE, radius))


def draw_watch(canvas: Canvas, product: Product) -> None:
    """A watch: strap above and below, case, dial, markers, subdials, hands."""
    have = product.attributes
    metal, dial = rgb(have["metal"]), rgb(have["dial"])
    radius = 29 + 1.5 * product.form[0]
    _strap(canvas, have["strap"], rgb(have["colour"]), 13 + 1.2 * product.form[1])
    canvas.box((50 + radius - 1, 47, 50 + radius + 5, 53), metal, 1.2, darker(metal, 0.5))
    canvas.fill(_case(have["shape"], radius), metal, shade=0.5, outline=darker(metal, 0.55), width=1.0)
    inner = radius - 4.5
    canvas.fill(_case(have["shape"], inner), dial, outline=darker(metal, 0.5))
    ink = ink_on(dial)
    _markers(canvas, have["markers"], inner - 3.6, ink)
    places: dict[str, list[Point]] = {
        "0": [],
        "1": [(50.0, 60.0)],
        "2": [(40.0, 52.0), (60.0, 52.0)],
        "3": [(40.0, 50.0), (60.0, 50.0), (50.0, 61.0)],
    }
    for place in places[have["subdials"]]:
        canvas.ellipse(place, 6.4, 6.4, lighter(dial, 0.35) if sum(dial) < 500 else darker(dial, 0.2), ink)
        canvas.line([place, (place[0] + 2, place[1] - 4)], ink, 0.8)
    mark_on(canvas, have["brand"], (50, 38), 5, dial)
    canvas.line([_CENTRE, (41, 42)], ink, 2.2)
    canvas.line([_CENTRE, (62, 36)], ink, 1.5)
    canvas.ellipse(_CENTRE, 1.8, 1.8, metal, ink)


def _strap(canvas: Canvas, style: str, colour: Colour, half: float) -> None:
    line = darker(colour, 0.5)
    body = symmetric([(50 - half, 2.0), (47 - half, 30.0), (47 - half, 70.0), (50 - half, 98.0)])
    canvas.fill(body, colour, shade=0.7, outline=line, width=0.9)
    if style == "leather":
        for side in (-1, 1):
            x = 50 + side * (half - 2.2)
            canvas.line([(x, 3), (x + side * 2, 28)], lighter(colour, 0.45), 0.9)
            canvas.line([(x, 97), (x + side * 2, 72)], lighter(colour, 0.45), 0.9)
    elif style == "steel links":
        for y in (3.0, 9.0, 15.0, 21.0, 79.0, 85.0, 91.0, 97.0):
            canvas.line([(50 - half - 1, y), (50 + half + 1, y)], darker(colour, 0.55), 1.3)
        for x in (50 - half * 0.4, 50 + half * 0.4):
            canvas.line([(x, 2), (x, 98)], darker(colour, 0.45), 1.0)
    elif style == "rubber":
        for y in (6.0, 12.0, 18.0, 82.0, 88.0, 94.0):
            canvas.box((50 - half * 0.5, y - 1.4, 50 + half * 0.5, y + 1.4), darker(colour, 0.55), 1.4)
    else:
        middle = lighter(colour, 0.5) if sum(colour) < 480 else darker(colour, 0.4)
        canvas.fill(
            [(50 - half * 0.34, 2), (50 + half * 0.34, 2), (50 + half * 0.34, 98), (50 - half * 0.34, 98)],
            middle,
        )


def _markers(canvas: Canvas, style: str, radius: float, ink: Colour) -> None:
    for hour in range(12):
        angle = math.radians(30 * hour - 90)
        x, y = 50 + radius * math.cos(angle), 50 + radius * math.sin(angle)
        if style == "dots":
            canvas.ellipse((x, y), 1.7, 1.7, ink)
        elif style == "numerals":
            canvas.text((x, y), str(hour or 12), 6.6, ink)
        elif style == "bars" or hour % 3 == 0:
            inner = radius - (3.0 if style == "bars" else 6.0)
            end = (50 + inner * math.cos(angle), 50 + inner * math.sin(angle))
            canvas.line([(x, y), end], ink, 1.5 if style == "bars" else 2.6)
