"""One small hand-over for all tests of this room, and copies of it to replace."""

import shutil
from pathlib import Path

import pytest
from night import BACKBONE, GENERATION, NEIGHBOURS, SIZE, Night, give_hostile_listing

from afmrl_models.backbones.small import build_generator
from afmrl_models.catalog.ingest import ingest
from afmrl_models.catalog.schema import read_table
from afmrl_models.config import Profile
from afmrl_models.registry.models import log_generator, set_alias
from afmrl_models.registry.tracking import Tracking
from afmrl_models.serving.released import Places


@pytest.fixture(scope="session")
def first_night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    home = tmp_path_factory.mktemp("serving")
    profile = Profile.model_validate(
        {
            "name": "shop",
            "catalog": {"source": {"kind": "generated", "products": 12}, "image_size": SIZE},
            "identical_products": {"neighbours": NEIGHBOURS},
        }
    )
    ingest(profile.catalog, home / "listings", home / "raw")
    give_hostile_listing(home / "listings")
    places = Places(
        home / "product_index", home / "identical_products", home / "listings", home / "raw", profile.catalog
    )
    night = Night(profile, places, Tracking(None, home, profile.name), home)
    version, directory = night.register(0)
    titles = read_table(home / "listings" / "listings.parquet", ["title"])["title"]
    generator = build_generator(BACKBONE, titles, SIZE, home / "generator", 0)
    with night.tracking.run("generator", tags={}) as run:
        written = log_generator(
            run, generator, profile.name, image_size=SIZE, keys=["type", "colour"], generation=GENERATION
        )
    set_alias(night.tracking, written.name, "champion", written.version)
    night.index(version, directory)
    return night


@pytest.fixture
def night(first_night: Night, tmp_path: Path) -> Night:
    """A copy of the hand-over that a test may replace; the models are shared."""
    home = tmp_path / "night"
    places = Places(
        home / "product_index", home / "identical_products", home / "listings", home / "raw",
        first_night.profile.catalog,
    )  # fmt: skip
    for ours, theirs in zip(vars(places).values(), vars(first_night.places).values(), strict=True):
        if isinstance(ours, Path):
            shutil.copytree(theirs, ours)
    return Night(first_night.profile, places, first_night.tracking, home)
