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
    base = rng.randrange(120, 253)
    spread = 8 if rng.random() < 0.5 else 45
    first, second = (_near(base, spread, rng), _near(base - rng.randrange(10, 70), spread, rng))
    return Seller(
        name=f"{_NAMES[number % len(_NAMES)]} {_KINDS[number // len(_NAMES)]}",
        ground=rng.choice(("white", "plain", "gradient", "table", "boards")),
        ground_colours=(first, second),
        brightness=rng.uniform(0.78, 1.18),
        contrast=rng.uniform(0.72, 1.15),
        cast=(rng.uniform(0.88, 1.1), rng.uniform(0.94, 1.04), rng.uniform(0.84, 1.12)),
        size=rng.uniform(0.72, 1.08),
        tilt=rng.choice((1.0, 4.0, 9.0)),
        quality=rng.choice((35, 50, 65, 80, 92)),
        badge=rng.choice((0.0, 0.0, 0.0, 0.5)),
        order=rng.choice(_ORDERS),
        details_first=rng.random() < 0.5,
        joint=rng.choice((" ", " ", ", ", " - ", " | ")),
        detail=rng.choice((0.15, 0.3, 0.45)),
        noise=rng.choice((0.1, 0.3, 0.6)),
        misspelling=rng.choice((0.0, 0.02, 0.06)),
        letters=rng.choice(("title", "lower", "plain", "plain", "upper")),
    )


def _near(base: int, spread: int, rng: random.Random) -> Colour:
    a, b, c = (max(20, min(255, base + rng.randint(-spread, spread))) for _ in range(3))
    return a, b, c
