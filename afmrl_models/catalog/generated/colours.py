"""Names of colours and what they look like."""

Colour = tuple[int, int, int]

PALETTE: dict[str, Colour] = {
    "black": (34, 34, 38),
    "white": (244, 243, 238),
    "grey": (146, 149, 154),
    "navy": (32, 44, 92),
    "blue": (42, 98, 196),
    "sky blue": (132, 190, 232),
    "teal": (18, 128, 128),
    "green": (46, 140, 70),
    "olive": (112, 116, 52),
    "yellow": (240, 202, 52),
    "orange": (234, 124, 36),
    "red": (204, 36, 44),
    "burgundy": (116, 24, 48),
    "pink": (240, 160, 184),
    "purple": (116, 66, 156),
    "beige": (218, 198, 164),
    "brown": (122, 80, 48),
}
FINISHES: dict[str, Colour] = {
    "gold": (206, 164, 70),
    "silver": (190, 194, 200),
    "rose gold": (214, 152, 132),
    "gunmetal": (78, 82, 90),
    "brass": (180, 138, 58),
    "wood": (168, 118, 70),
    "chrome": (202, 206, 212),
}


def rgb(name: str) -> Colour:
    """The colour of a palette or finish name; KeyError names an unknown one."""
    return PALETTE[name] if name in PALETTE else FINISHES[name]


def blend(first: Colour, second: Colour, share: float) -> Colour:
    """`first` moved by `share` (0 to 1) of the way to `second`."""
    return (
        round(first[0] + (second[0] - first[0]) * share),
        round(first[1] + (second[1] - first[1]) * share),
        round(first[2] + (second[2] - first[2]) * share),
    )


def darker(colour: Colour, share: float = 0.3) -> Colour:
    """`colour` moved by `share` of the way to a bluish black."""
    return blend(colour, (12, 12, 20), share)


def lighter(colour: Colour, share: float = 0.3) -> Colour:
    """`colour` moved by `share` of the way to white."""
    return blend(colour, (255, 255, 255), share)


def contrast(first: str, second: str) -> int:
    """L1 distance of two named colours in RGB units (0 to 765)."""
    return sum(abs(a - b) for a, b in zip(rgb(first), rgb(second), strict=True))


def ink_on(colour: Colour) -> Colour:
    """Black or white, whichever reads better on `colour`."""
    luminance = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
    return (28, 28, 34) if luminance > 130 else (248, 248, 246)
