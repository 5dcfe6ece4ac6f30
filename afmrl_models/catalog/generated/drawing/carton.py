"""Drink cartons with a fruit and a volume printed on them."""

from afmrl_models.catalog.generated.colours import Colour, darker, ink_on, lighter, rgb
from afmrl_models.catalog.generated.drawing.canvas import Canvas, Point, curve, ring
from afmrl_models.catalog.generated.drawing.paint import cloth, mark_on
from afmrl_models.catalog.generated.products import Product

_LEAF: Colour = (66, 140, 62)
_WIDTH = {"brick": 27.0, "gable top": 25.0, "slim": 19.0}


def draw_carton(canvas: Canvas, product: Product) -> None:
    """A carton: front and side, top, cap, label."""
    have = product.attributes
    colour, cap = rgb(have["colour"]), rgb(have["cap"])
    pale = lighter(colour, 0.55) if sum(colour) < 560 else darker(colour, 0.3)
    surface = cloth(
        have["pattern"] if have["pattern"] != "wave" else "plain", colour, pale, pitch=9, split=72
    )
    half = _WIDTH[have["shape"]] + product.form[0]
    left, right, back = 44 - half, 44 + half, 44 + half + 11
    line = darker(colour, 0.5)
    top = 26.0
    if have["shape"] == "gable top":
        canvas.fill(
            [(right, top), (back, top - 3), (back - 6, 12), (right - 5, 14)],
            darker(colour, 0.35),
            outline=line,
        )
        canvas.fill(
            [(left, top), (right, top), (right - 5, 14), (left + 3, 14)], lighter(colour, 0.15), outline=line
        )
        canvas.fill([(left + 3, 14), (right - 5, 14), (right - 4, 7), (left + 4, 7)], colour, outline=line)
    else:
        canvas.fill(
            [(left, top), (right, top), (back, top - 7), (left + 11, top - 7)],
            lighter(colour, 0.25),
            outline=line,
        )
    depth = 3.0 if have["shape"] == "gable top" else 7.0
    canvas.fill(
        [(right, top), (back, top - depth), (back, 90), (right, 96)], darker(colour, 0.3), outline=line
    )
    canvas.fill([(left, top), (right, top), (right, 96), (left, 96)], surface, outline=line)
    if have["pattern"] == "wave":
        canvas.fill(
            curve(
                f"M {left} 78 Q {left + half * 0.6} 68 44 76 Q {right - half * 0.5} 84 {right} 74 "
                f"L {right} 96 L {left} 96"
            ),
            pale,
        )
    _cap(canvas, have["shape"], cap, right)
    canvas.box(
        (left + 2.5, 29, right - 2.5, 40),
        lighter(colour, 0.85) if sum(colour) < 560 else darker(colour, 0.75),
        1.5,
    )
    label = (250, 250, 246) if sum(colour) < 560 else (40, 40, 46)
    canvas.text((44, 34.5), have["brand"], 8.5, ink_on(label), widest=2 * half - 8)
    canvas.ellipse((44, 57), 15, 14.5, (252, 250, 240), line)
    draw_fruit(canvas, have["flavour"], (44, 57))
    canvas.box((44 - half + 4, 77, 44 + half - 4, 92), (252, 252, 248), 2, line)
    canvas.text((44, 84.5), have["volume"], 13, (30, 30, 36), widest=2 * half - 11)
    mark_on(canvas, have["brand"], (right + 5.5, 50), 7, darker(colour, 0.3))


def _cap(canvas: Canvas, shape: str, cap: Colour, right: float) -> None:
    x, y = (44.0, 20.0) if shape == "gable top" else (right - 9, 20.0)
    line = darker(cap, 0.5)
    if shape == "gable top":
        canvas.ellipse((x, y), 7, 5.2, cap, line, 1.0)
        canvas.ellipse((x, y), 4, 2.8, None, darker(cap, 0.25), 0.8)
    else:
        canvas.box((x - 7, y - 9, x + 7, y + 2), cap, 1.5, line)
        for step in range(-2, 3):
            canvas.line([(x + 2.4 * step, y - 7), (x + 2.4 * step, y)], darker(cap, 0.25), 0.8)


def draw_fruit(canvas: Canvas, fruit: str, centre: Point) -> None:
    """A fruit about 20 units across."""
    x, y = centre
    if fruit in ("orange", "lemon"):
        colour: Colour = (244, 142, 32) if fruit == "orange" else (248, 216, 56)
        wide = 10.0 if fruit == "orange" else 12.0
        if fruit == "lemon":
            canvas.fill(
                curve(f"M {x - 13} {y} Q {x} {y - 17} {x + 13} {y} Q {x} {y + 17} {x - 13} {y}"), colour
            )
        else:
            canvas.ellipse(centre, wide, wide, colour, darker(colour, 0.25))
            canvas.ellipse((x, y), 7.6, 7.6, (255, 206, 120))
            for point in ring(centre, 7.6, 7.6, 8):
                canvas.line([centre, point], colour, 1.0)
    elif fruit in ("apple", "pear"):
        colour = (196, 40, 44) if fruit == "apple" else (176, 196, 66)
        if fruit == "apple":
            canvas.ellipse((x - 4, y + 1), 6.6, 8.6, colour)
            canvas.ellipse((x + 4, y + 1), 6.6, 8.6, colour)
        else:
            canvas.ellipse((x, y + 4), 8.4, 7, colour)
            canvas.fill(
                curve(
                    f"M {x - 8} {y + 3} Q {x - 3} {y - 4} {x - 3} {y - 9} Q {x} {y - 12} {x + 3} {y - 9} "
                    f"Q {x + 3} {y - 4} {x + 8} {y + 3}"
                ),
                colour,
            )
        canvas.line([(x, y - 6), (x + 2, y - 12)], (96, 66, 40), 1.4)
        canvas.ellipse((x + 5, y - 10), 3.4, 1.8, _LEAF)
    elif fruit == "cherry":
        for dx in (-5.0, 5.5):
            canvas.line([(x + dx, y + 2), (x + 1, y - 11)], (82, 110, 52), 1.2)
            canvas.ellipse((x + dx, y + 5), 5.4, 5.4, (168, 20, 44))
            canvas.ellipse((x + dx - 1.6, y + 3.2), 1.2, 1.2, (240, 190, 196))
    elif fruit in ("grape", "blueberry"):
        colour = (112, 52, 140) if fruit == "grape" else (58, 76, 160)
        rows = ((-6, 0, 6), (-3, 3), (0,)) if fruit == "grape" else ((-4, 4), (-8, 0, 8))
        for row, places in enumerate(rows):
            for dx in places:
                spot = (x + dx, y - 6 + row * (6 if fruit == "grape" else 8))
                size = 3.6 if fruit == "grape" else 4.4
                canvas.ellipse(spot, size, size, colour, darker(colour, 0.4))
        canvas.line([(x, y - 9), (x + 1, y - 13)], (82, 110, 52), 1.4)
    else:
        canvas.fill(
            curve(
                f"M {x} {y + 11} Q {x - 13} {y} {x - 8} {y - 7} Q {x} {y - 10} {x + 8} {y - 7} "
                f"Q {x + 13} {y} {x} {y + 11}"
            ),
            (222, 44, 56),
        )
        for dx, dy in ((-4, -2), (3, -3), (0, 3), (-2, 7), (5, 2)):
            canvas.ellipse((x + dx, y + dy), 0.9, 1.2, (252, 214, 120))
        canvas.fill(
            [(x - 7, y - 7), (x, y - 4), (x + 7, y - 7), (x + 2, y - 10), (x, y - 13), (x - 2, y - 10)], _LEAF
        )
