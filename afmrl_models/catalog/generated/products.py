"""Which product stands at which index: families whose members differ in exactly one attribute."""

import random
from dataclasses import dataclass
from functools import lru_cache

from afmrl_models.catalog.generated.colours import FINISHES, PALETTE, contrast
from afmrl_models.catalog.generated.taxonomy import BRANDS, TYPES, ProductType

BLOCK = 24
_FAMILY_SIZES = (
    (3, 3, 4, 4, 5, 5),
    (3, 3, 3, 4, 5, 6),
    (4, 4, 4, 4, 4, 4),
    (3, 4, 5, 6, 6),
    (3, 3, 3, 3, 3, 4, 5),
)
_MIN_CONTRAST = 150


@dataclass(frozen=True)
class Product:
    """One product. `form` holds four numbers in -1..1 that shape the whole family (proportions, dye)."""

    index: int
    family: str
    kind: ProductType
    attributes: dict[str, str]
    varies: str
    form: tuple[float, float, float, float]

    @property
    def product_id(self) -> str:
        """Stable id of the product."""
        return f"p{self.index:07d}"


def product_at(index: int, seed: int) -> Product:
    """The product at `index` (0-based) of the catalog of `seed`, whatever the catalog's size."""
    block = _block(index // BLOCK, seed)
    return block[index % BLOCK]


@lru_cache(maxsize=4)
def _block(block: int, seed: int) -> tuple[Product, ...]:
    rng = random.Random(f"products/{seed}/{block}")
    sizes = list(rng.choice(_FAMILY_SIZES))
    rng.shuffle(sizes)
    kinds = rng.sample(TYPES, len(sizes))
    products: list[Product] = []
    for number, (size, kind) in enumerate(zip(sizes, kinds, strict=True)):
        form = (rng.uniform(-1, 1), rng.uniform(-1, 1), rng.uniform(-1, 1), rng.uniform(-1, 1))
        varies, members = _family(kind, size, rng)
        for attributes in members:
            index = block * BLOCK + len(products)
            products.append(Product(index, f"f{block:06d}-{number}", kind, attributes, varies, form))
    return tuple(products)


def _family(kind: ProductType, size: int, rng: random.Random) -> tuple[str, list[dict[str, str]]]:
    """`size` attribute sets that are equal but for one attribute, and the name of that attribute.

    Drawn again until colours that must stand out from each other do so in every member.
    """
    while True:
        base = {"type": kind.name, "brand": rng.choice(BRANDS)}
        base |= {key: rng.choice(values) for key, values in kind.attributes.items()}
        names = [key for key, values in kind.attributes.items() if len(values) >= size]
        if not names:
            raise ValueError(f"no attribute of {kind.name} has {size} values")
        # Colours fit families of any size; at equal odds they would leave little room for cut and shape.
        varies = rng.choices(names, [0.5 if len(kind.attributes[key]) > 8 else 1.0 for key in names])[0]
        others = [value for value in kind.attributes[varies] if _stands_out(kind, base | {varies: value})]
        if len(others) < size:
            continue
        return varies, [base | {varies: value} for value in rng.sample(others, size)]


def _stands_out(kind: ProductType, attributes: dict[str, str]) -> bool:
    named = PALETTE.keys() | FINISHES.keys()
    pairs = [(attributes[a], attributes[b]) for a, b in kind.contrasts]
    return all(contrast(a, b) >= _MIN_CONTRAST for a, b in pairs if a in named and b in named)
