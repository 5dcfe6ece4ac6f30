"""A picture of what the generated catalog looks like: one family a row, offers of siblings side by side.

python -m afmrl_models.catalog.generated.specimen docs/images/generated_catalog.png
"""

import io
import random
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from afmrl_models.catalog.generated.drawing import draw_product
from afmrl_models.catalog.generated.photos import jpeg, photograph
from afmrl_models.catalog.generated.products import Product, product_at
from afmrl_models.catalog.generated.sellers import sellers_of
from afmrl_models.catalog.generated.taxonomy import TYPES

_TILE = 72
_SIBLINGS = 4
_OFFERS = 2
_CAPTION = 14


def specimen(seed: int = 0) -> Image.Image:
    """Two offers each of four siblings, for every product type; the caption names what tells them apart."""
    families = _families(seed)
    sheet = Image.new("RGB", (_SIBLINGS * _OFFERS * _TILE, len(families) * (_TILE + _CAPTION)), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(10)
    for row, siblings in enumerate(families):
        top = row * (_TILE + _CAPTION)
        for column, product in enumerate(siblings):
            left = column * _OFFERS * _TILE
            caption = f"{product.kind.name}, {product.varies}: {product.attributes[product.varies]}"
            draw.text((left + 2, top + 1), caption, fill=(40, 40, 46), font=font)
            rng = random.Random(f"specimen/{seed}/{product.index}")
            layer = draw_product(product)
            for number, seller in enumerate(sellers_of(rng, seed)[:_OFFERS]):
                data = jpeg(photograph(layer, seller, rng, may_flip=product.kind.flips), seller)
                tile = Image.open(io.BytesIO(data)).resize((_TILE - 2, _TILE - 2), Image.Resampling.LANCZOS)
                sheet.paste(tile, (left + number * _TILE, top + _CAPTION))
    return sheet


def _families(seed: int) -> list[list[Product]]:
    """A large enough family of every type, each told apart by an attribute of its own where possible."""
    members: dict[str, list[Product]] = {}
    chosen: dict[str, list[Product]] = {}
    shown: set[str] = set()
    index = 0
    while len(chosen) < len(TYPES):
        product = product_at(index, seed)
        index += 1
        siblings = members.setdefault(product.family, [])
        siblings.append(product)
        fresh = product.varies not in shown or index > 2000
        if len(siblings) == _SIBLINGS and product.kind.name not in chosen and fresh:
            chosen[product.kind.name] = siblings
            shown.add(product.varies)
    return [chosen[kind.name][:_SIBLINGS] for kind in TYPES]


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    specimen().quantize(200, dither=Image.Dither.NONE).save(path, optimize=True)
