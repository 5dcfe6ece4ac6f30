"""Vector drawings of products, one file a family of product types."""

from collections.abc import Callable

from PIL import Image

from afmrl_models.catalog.generated.drawing.canvas import Canvas
from afmrl_models.catalog.generated.drawing.carton import draw_carton
from afmrl_models.catalog.generated.drawing.dress import draw_dress
from afmrl_models.catalog.generated.drawing.drinkware import draw_bottle, draw_mug
from afmrl_models.catalog.generated.drawing.garments import draw_shirt, draw_t_shirt
from afmrl_models.catalog.generated.drawing.handbag import draw_handbag
from afmrl_models.catalog.generated.drawing.lamp import draw_lamp
from afmrl_models.catalog.generated.drawing.sneaker import draw_sneaker
from afmrl_models.catalog.generated.drawing.sunglasses import draw_sunglasses
from afmrl_models.catalog.generated.drawing.watch import draw_watch
from afmrl_models.catalog.generated.products import Product

DRAWINGS: dict[str, Callable[[Canvas, Product], None]] = {
    "t-shirt": draw_t_shirt,
    "shirt": draw_shirt,
    "dress": draw_dress,
    "sneaker": draw_sneaker,
    "handbag": draw_handbag,
    "mug": draw_mug,
    "bottle": draw_bottle,
    "drink carton": draw_carton,
    "watch": draw_watch,
    "sunglasses": draw_sunglasses,
    "lamp": draw_lamp,
}


def draw_product(product: Product) -> Image.Image:
    """The product alone on a transparent ground: RGBA, 192 x 192."""
    canvas = Canvas()
    DRAWINGS[product.kind.name](canvas, product)
    return canvas.finished()
