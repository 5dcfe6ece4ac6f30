"""Sellers: each photographs and writes in a manner of its own."""

import random
from dataclasses import dataclass
from functools import lru_cache

from afmrl_models.catalog.generated.colours import Colour

SELLERS = 40
_NAMES = ("Harbour", "Corner", "Sunny", "Prime", "Atlas", "Maple", "City", "Blue Door", "Nordic", "Lucky")
_KINDS = ("Shop", "Trading", "Store", "Market")
_ORDERS = (
    ("brand", "colour", "type"),
    ("colour", "brand", "type"),
    ("brand", "type", "colour"),
    ("type", "brand", "colour"),
)


@dataclass(frozen=True)
class Seller:
    """How one seller photographs (light, framing, ground, JPEG quality) and writes."""

    name: str
    ground: str
    ground_colours: tuple[Colour, Colour]
    brightness: float
    contrast: float
    cast: tuple[float, float, float]
    size: float
    tilt: float
    quality: int
    badge: float
    order: tuple[str, ...]
    details_first: bool
    joint: str
    detail: float
    noise: float
    misspelling: float
    letters: str


def sellers_of(rng: random.Random, seed: int) -> list[Seller]:
    """Two to four different sellers."""
    return [seller(number, seed) for number in rng.sample(range(SELLERS), rng.choice((2, 3, 3, 4)))]


@lru_cache(maxsize=4 * SELLERS)
def seller(number: int, seed: int) -> Seller:
    """Seller `number` (below SELLERS) of the catalog of `seed`."""
    rng = random.Random(f"seller/{seed}/{number}")
    base = rng.randrange(150, 253)
    spread = 8 if rng.random() < 0.6 else 30
    first, second = (_near(base, spread, rng), _near(base - rng.randrange(10, 70), spread, rng))
    return Seller(
        name=f"{_NAMES[number % len(_NAMES)]} {_KINDS[number // len(_NAMES)]}",
        ground=rng.choice(("white", "white", "plain", "gradient", "table", "boards")),
        ground_colours=(first, second),
        brightness=rng.uniform(0.84, 1.14),
        contrast=rng.uniform(0.78, 1.12),
        cast=(rng.uniform(0.93, 1.06), rng.uniform(0.96, 1.03), rng.uniform(0.9, 1.08)),
        size=rng.uniform(0.86, 1.08),
        tilt=rng.choice((1.0, 3.0, 7.0)),
        quality=rng.choice((35, 50, 65, 80, 92)),
        badge=rng.choice((0.0, 0.0, 0.0, 0.4)),
        order=rng.choice(_ORDERS),
        details_first=rng.random() < 0.5,
        joint=rng.choice((" ", " ", ", ", " - ", " | ")),
        detail=rng.choice((0.15, 0.3, 0.5)),
        noise=rng.choice((0.1, 0.3, 0.6)),
        misspelling=rng.choice((0.0, 0.01, 0.04)),
        letters=rng.choice(("title", "lower", "plain", "plain", "upper")),
    )


def _near(base: int, spread: int, rng: random.Random) -> Colour:
    a, b, c = (max(20, min(255, base + rng.randint(-spread, spread))) for _ in range(3))
    return a, b, c
