"""A supersampled drawing surface of 100 by 100 units with shapes, curves, shading and print."""

import math
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from PIL import Image, ImageChops, ImageDraw, ImageFont

from afmrl_models.catalog.generated.colours import Colour, darker

Point = tuple[float, float]
Box = tuple[float, float, float, float]

EDGE = 384
SUPERSAMPLING = 2
_TOKEN = re.compile(r"[MLQC]|-?\d+(?:\.\d+)?(?:e-?\d+)?")
_ARGUMENTS = {"M": 1, "L": 1, "Q": 2, "C": 3}


def curve(path: str) -> list[Point]:
    """Points along an SVG-like path of absolute M, L, Q and C commands."""
    tokens = _TOKEN.findall(path)
    points: list[Point] = []
    position = 0
    command = "M"
    while position < len(tokens):
        if tokens[position] in _ARGUMENTS:
            command = tokens[position]
            position += 1
        count = _ARGUMENTS[command]
        numbers = [float(token) for token in tokens[position : position + 2 * count]]
        position += 2 * count
        controls = list(zip(numbers[::2], numbers[1::2], strict=True))
        points.extend(controls if count == 1 else _bezier(points[-1], controls))
    return points


def _bezier(start: Point, controls: Sequence[Point], steps: int = 10) -> list[Point]:
    knots = [start, *controls]
    degree = len(knots) - 1
    result: list[Point] = []
    for step in range(1, steps + 1):
        t = step / steps
        weights = [math.comb(degree, i) * t**i * (1 - t) ** (degree - i) for i in range(degree + 1)]
        x = sum(weight * knot[0] for weight, knot in zip(weights, knots, strict=True))
        y = sum(weight * knot[1] for weight, knot in zip(weights, knots, strict=True))
        result.append((x, y))
    return result


def flipped(points: Iterable[Point]) -> list[Point]:
    """The points mirrored at the vertical middle line."""
    return [(100 - x, y) for x, y in points]


def symmetric(left: Sequence[Point]) -> list[Point]:
    """A closed outline from its left half, given from top to bottom."""
    return [*left, *reversed(flipped(left))]


def placed(points: Iterable[Point], centre: Point, scale: float) -> list[Point]:
    """Points drawn around (0, 0), enlarged and moved to a centre."""
    return [(centre[0] + x * scale, centre[1] + y * scale) for x, y in points]


def ring(
    centre: Point, radius_x: float, radius_y: float, corners: int = 48, turn: float = 0.0
) -> list[Point]:
    """Corners of a regular polygon stretched to an ellipse; `turn` in degrees."""
    angles = [math.radians(turn + 360 * i / corners) for i in range(corners)]
    return [(centre[0] + radius_x * math.cos(a), centre[1] + radius_y * math.sin(a)) for a in angles]


@lru_cache(maxsize=1)
def _cylinder() -> Image.Image:
    """Darkness across a rounded body: light a little left of the middle, dark edges."""
    row = Image.new("L", (64, 1))
    for x in range(64):
        across = (x / 63 - 0.42) / 0.58
        row.putpixel((x, 0), round(min(1.0, across * across) * 120))
    return row


@lru_cache(maxsize=64)
def _font(pixels: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(pixels)


class Canvas:
    """A transparent picture; all coordinates in units of a hundredth of its edge."""

    def __init__(self) -> None:
        self.image = Image.new("RGBA", (EDGE, EDGE), (255, 255, 255, 0))
        self.draw = ImageDraw.Draw(self.image)
        self.scale = EDGE / 100

    def _scaled(self, points: Iterable[Point]) -> list[Point]:
        return [(x * self.scale, y * self.scale) for x, y in points]

    def fill(
        self,
        points: Sequence[Point],
        paint: Colour | Image.Image,
        *,
        shade: float = 0.0,
        outline: Colour | None = None,
        width: float = 0.7,
    ) -> None:
        """Fills a polygon with a colour or a picture of the canvas's size; `shade` darkens its sides."""
        scaled = self._scaled(points)
        if shade == 0 and not isinstance(paint, Image.Image):
            self.draw.polygon(scaled, fill=paint)
        else:
            left = max(0, math.floor(min(x for x, _ in scaled)))
            top = max(0, math.floor(min(y for _, y in scaled)))
            right = min(EDGE, math.ceil(max(x for x, _ in scaled)) + 1)
            bottom = min(EDGE, math.ceil(max(y for _, y in scaled)) + 1)
            box = (left, top, right, bottom)
            mask = Image.new("L", (right - left, bottom - top))
            ImageDraw.Draw(mask).polygon([(x - left, y - top) for x, y in scaled], fill=255)
            self.image.paste(paint.crop(box) if isinstance(paint, Image.Image) else paint, box, mask)
            if shade:
                dark = _cylinder().resize(mask.size, Image.Resampling.BILINEAR)
                if shade != 1:
                    dark = dark.point([min(255, round(value * shade)) for value in range(256)])
                self.image.paste((12, 12, 20), box, ImageChops.multiply(mask, dark))
        if outline is not None:
            self.line([*points, points[0]], outline, width)

    def line(self, points: Sequence[Point], colour: Colour, width: float) -> None:
        """A line through the points with rounded joints and ends."""
        scaled = self._scaled(points)
        pixels = max(1, round(width * self.scale))
        self.draw.line(scaled, fill=colour, width=pixels, joint="curve")
        if pixels > 3:
            radius = pixels / 2
            for x, y in (scaled[0], scaled[-1]):
                self.draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)

    def ellipse(
        self,
        centre: Point,
        rx: float,
        ry: float,
        paint: Colour | None,
        outline: Colour | None = None,
        width: float = 0.7,
    ) -> None:
        """An ellipse by its centre and radii."""
        box = [
            value * self.scale for value in (centre[0] - rx, centre[1] - ry, centre[0] + rx, centre[1] + ry)
        ]
        self.draw.ellipse(box, fill=paint, outline=outline, width=max(1, round(width * self.scale)))

    def box(self, box: Box, paint: Colour, radius: float = 0.0, outline: Colour | None = None) -> None:
        """A rectangle (left, top, right, bottom) with rounded corners."""
        scaled = [value * self.scale for value in box]
        self.draw.rounded_rectangle(scaled, radius * self.scale, fill=paint, outline=outline, width=2)

    def text(self, centre: Point, words: str, height: float, colour: Colour, widest: float = 100.0) -> None:
        """Words centred at a point, `height` units high or less if they would be wider than `widest`."""
        pixels = max(6, round(height * self.scale))
        length = _font(pixels).getlength(words)
        if length > widest * self.scale:
            pixels = max(6, int(pixels * widest * self.scale / length))
        position = (centre[0] * self.scale, centre[1] * self.scale)
        self.draw.text(
            position, words, font=_font(pixels), fill=colour, anchor="mm", stroke_width=max(0.0, pixels / 28)
        )

    def seam(self, points: Sequence[Point], colour: Colour, width: float = 0.6) -> None:
        """A line in a darker shade of `colour`."""
        self.line(points, darker(colour, 0.4), width)

    def finished(self) -> Image.Image:
        """The picture with its edges smoothed, RGBA, EDGE / SUPERSAMPLING pixels wide."""
        return self.image.convert("RGBa").reduce(SUPERSAMPLING).convert("RGBA")
