"""A dozen products of two offers each, their photos, and the smallest backbone."""

from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw

from afmrl_models.backbones.small import build_embedder
from afmrl_models.catalog.images import ImageStore, ImageStoreWriter
from afmrl_models.config import BackboneConfig

COLOURS = ["red", "green", "blue", "orange"]
THINGS = ["mug", "lamp", "ring"]


@dataclass(frozen=True)
class SmallCatalog:
    listings: pd.DataFrame
    attributes: dict[str, str]
    images: ImageStore
    base: Path
    backbone: BackboneConfig


def photo(colour: str, thing: str, offer: int) -> np.ndarray:
    image = Image.new("RGB", (56, 56), "white" if offer == 0 else "lightgrey")
    draw = ImageDraw.Draw(image)
    box = (8 + 4 * offer, 8, 44 + 4 * offer, 44)
    {"mug": draw.rectangle, "lamp": draw.ellipse, "ring": draw.chord}[thing](
        box, fill=colour, **({"start": 0, "end": 200} if thing == "ring" else {})
    )
    return np.asarray(image)


@pytest.fixture(scope="session")
def small_catalog(tmp_path_factory: pytest.TempPathFactory) -> SmallCatalog:
    folder = tmp_path_factory.mktemp("embedding")
    rows, attributes = [], {}
    store = folder / "images"
    store.mkdir()
    with ImageStoreWriter(store, 56) as writer:
        for thing, colour in product(THINGS, COLOURS):
            for offer, title in enumerate(
                (f"{colour} {thing}", f"A {thing}, colour {colour}, new and boxed")
            ):
                id_ = f"{thing}-{colour}-{offer}"
                rows.append({"listing_id": id_, "product_id": f"{thing}-{colour}", "title": title})
                attributes[id_] = f"kind: {thing}; colour: {colour}"
                writer.add(id_, photo(colour, thing, offer))
    listings = pd.DataFrame(rows)
    backbone = BackboneConfig(hidden_size=32, layers=1, vision_layers=1, vocabulary=320)
    base = build_embedder(backbone, [*listings.title, *attributes.values()], 56, folder / "base", seed=0)
    return SmallCatalog(listings, attributes, ImageStore.open(store), base, backbone)
