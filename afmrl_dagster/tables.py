"""Reading what upstream assets left: listings, splits, photos, attribute texts."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from afmrl_dagster.attribute_tables import ATTRIBUTES, AttributeTables
from afmrl_dagster.resources import Pipeline
from afmrl_models.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from afmrl_models.catalog.evaluation_set import EvaluationSet
    from afmrl_models.catalog.images import ImageStore
    from afmrl_models.catalog.large_photos import LargePhotos

RAW_CATALOG = ("catalog", "raw_catalog")
LISTINGS = ("catalog", "listings")
SPLITS = ("catalog", "splits")
EVALUATION_SET = ("catalog", "evaluation_set")
TEACHER = ("attributes", "teacher_attributes")


@dataclass
class Tables:
    """The tables of one pipeline, each read once when first asked for."""

    pipeline: Pipeline

    @cached_property
    def listings(self) -> "pd.DataFrame":
        """All validated listings."""
        from afmrl_models.catalog.schema import read_table

        return read_table(self.pipeline.made(LISTINGS) / "listings.parquet")

    @cached_property
    def splits(self) -> "pd.DataFrame":
        """listing_id, split, role."""
        from afmrl_models.catalog.schema import read_table

        return read_table(self.pipeline.made(SPLITS) / "splits.parquet")

    @cached_property
    def images(self) -> "ImageStore":
        """The photos of all listings, memory-mapped."""
        from afmrl_models.catalog.images import ImageStore

        return ImageStore.open(self.pipeline.made(LISTINGS) / "images")

    @cached_property
    def large_images(self) -> "LargePhotos":
        """The same photos larger, for people, as far as the catalog still has them."""
        from afmrl_models.catalog.large_photos import PHOTO_EDGE, LargePhotos, local_originals

        paths = dict(zip(self.listings["listing_id"], self.listings["image_path"], strict=True))
        originals = local_originals(self.pipeline.profile().catalog, self.pipeline.directory(RAW_CATALOG))
        return LargePhotos(self.images, paths, originals, PHOTO_EDGE)

    @cached_property
    def evaluation_set(self) -> "EvaluationSet | None":
        """The frozen evaluation set, once there is one. Raises CatalogError where it is damaged."""
        from afmrl_models.catalog.evaluation_set import open_evaluation_set

        return open_evaluation_set(self.pipeline.directory(EVALUATION_SET))

    def judged_on(self) -> "EvaluationSet":
        """The frozen evaluation set. Raises UserError where none was frozen yet."""
        if self.evaluation_set is None:
            raise UserError("no evaluation set is frozen yet: materialize catalog/evaluation_set")
        return self.evaluation_set

    def of(self, *splits: str, role: str | None = None) -> "pd.DataFrame":
        """The listings of these splits (and of this role), in the catalog's order."""
        chosen = self.splits[self.splits["split"].isin(splits)]
        if role is not None:
            chosen = chosen[chosen["role"] == role]
        return self.listings[self.listings["listing_id"].isin(set(chosen["listing_id"]))].reset_index(
            drop=True
        )

    def attribute_table(self, group: str) -> "pd.DataFrame":
        """The accepted product_attributes of a round, or the teacher's table for group `attributes`.

        Raises AttributeTableError where no table of the round was accepted yet.
        """
        from afmrl_models.catalog.schema import read_table

        if group != "attributes":
            return AttributeTables(self.pipeline, group).accepted()
        return read_table(self.pipeline.made(TEACHER) / ATTRIBUTES)

    def attribute_texts(self, group: str) -> dict[str, str]:
        """listing_id to attribute text, valid ones only."""
        table = self.attribute_table(group)
        table = table[table["valid"]]
        return dict(zip(table["listing_id"], table["attributes_text"], strict=True))

    @cached_property
    def attribute_keys(self) -> list[str]:
        """The keys the prompt asks for: the profile's, or those the training split states."""
        from afmrl_models.attributes.teachers import catalog_keys

        return list(self.pipeline.profile().attributes.keys) or catalog_keys(self.of("train"))

    def catalog_digest(self) -> str:
        """sha256 over the content hashes of all listings: the version of the data."""
        from hashlib import sha256

        from afmrl_models.catalog.schema import read_table

        path = self.pipeline.made(LISTINGS) / "listings.parquet"
        hashes = read_table(path, ["content_hash"])["content_hash"]
        return sha256("".join(sorted(hashes)).encode()).hexdigest()
