"""One small hand-over, as a night leaves it: a rendered catalog, real models, their index and groups."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from afmrl_models.backbones.checkpoint import checkpoint_digest
from afmrl_models.backbones.small import build_embedder
from afmrl_models.catalog.images import IDS, ImageStore
from afmrl_models.catalog.schema import LISTINGS, read_table, write_table
from afmrl_models.config import BackboneConfig, GenerationConfig, Profile
from afmrl_models.embedding.embedder import encode_listings, load_embedder, new_embedder, save_embedder
from afmrl_models.registry.models import ModelVersion, local_directory, log_embedder, set_alias
from afmrl_models.registry.tracking import Tracking
from afmrl_models.retrieval.calibration import calibrate
from afmrl_models.retrieval.identical import GROUPS, group_identical
from afmrl_models.retrieval.index import Origin, build_index, load_index
from afmrl_models.retrieval.links import mutual_links
from afmrl_models.serving.released import Places

SIZE = 28
NEIGHBOURS = 4
BACKBONE = BackboneConfig(hidden_size=32, layers=1, vision_layers=1, vocabulary=400)
GENERATION = GenerationConfig(max_new_tokens=8)
# A title that is markup, and an id that is a path.
HOSTILE, HOSTILE_ID = "<script>alert('x')</script> & <b>bold</b>", "../../etc/passwd"


@dataclass(frozen=True)
class Night:
    """What a night has left, and how to make the next one."""

    profile: Profile
    places: Places
    tracking: Tracking
    home: Path

    def index(self, version: ModelVersion, directory: Path, *, without: str | None = None) -> None:
        """Make index and groups of a version's vectors, as the two assets do."""
        listings = read_table(self.places.listings / "listings.parquet")
        listings = listings[listings["listing_id"] != without].reset_index(drop=True)
        images = ImageStore.open(self.places.listings / "images")
        vectors = encode_listings(load_embedder(directory, "cpu"), listings, images, "multimodal", None, 16)
        ids = listings["listing_id"].tolist()
        origin = Origin(version.uri, checkpoint_digest(directory))
        build_index(vectors, ids, origin, self.places.product_index)
        index = load_index(self.places.product_index)
        links = mutual_links(index, NEIGHBOURS)
        everywhere = np.ones(len(ids), dtype=bool)
        calibration = calibrate(
            links, listings["product_id"].tolist(), everywhere, 0.5, origin.embedder_digest
        )
        grouping = group_identical(index, links, calibration.threshold or 0.9)
        partial = self.home / "groups.partial"
        partial.mkdir()
        grouping.groups.assign(confidence=calibration.curve(grouping.groups["score"].to_numpy())).to_parquet(
            partial / GROUPS
        )
        calibration.save(partial)
        shutil.rmtree(self.places.identical_products, ignore_errors=True)
        partial.rename(self.places.identical_products)

    def register(self, seed: int) -> tuple[ModelVersion, Path]:
        """An embedder of its own weights as a new version, and its directory."""
        directory = self.home / f"embedder_{seed}"
        titles = read_table(self.places.listings / "listings.parquet", ["title"])["title"]
        base = build_embedder(BACKBONE, titles, SIZE, self.home / f"base_{seed}", seed)
        save_embedder(new_embedder(base, BACKBONE, "cpu"), directory)
        with self.tracking.run("embedder", tags={}) as run:
            version = log_embedder(run, directory, self.profile.name, image_size=SIZE)
        set_alias(self.tracking, version.name, "champion", version.version)
        return version, local_directory(self.tracking, version.uri)


def give_hostile_listing(folder: Path) -> None:
    """Give the first listing a title and an id that a page or a path could stumble over."""
    listings = read_table(folder / "listings.parquet")
    listings.loc[0, ["listing_id", "title"]] = [HOSTILE_ID, HOSTILE]
    write_table(listings, LISTINGS, folder / "listings.parquet")
    ids = json.loads((folder / "images" / IDS).read_text(encoding="utf-8"))
    (folder / "images" / IDS).write_text(json.dumps([HOSTILE_ID, *ids[1:]]), encoding="utf-8")
