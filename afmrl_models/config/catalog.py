"""Settings of the catalog: where its rows come from, how products are dealt to the splits."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from afmrl_models.config.strict import Strict


class ColumnMapping(Strict):
    """Which column of the catalog's table holds what."""

    listing_id: str = Field("listing_id", description="unique id of the listing")
    product_id: str | None = Field(
        "product_id", description="listings that share it are one product; null: unknown"
    )
    title: str = "title"
    description: str | None = None
    category: str | None = Field("category", description="null: the catalog has no categories")
    seller: str | None = None
    image: str = Field("image", description="path under the catalog's root, or the image's bytes (Parquet)")
    labels: str | None = Field(
        None,
        description="column with a list of labels (or one as text): listings that share a label, not those "
        "that share product_id, are relevant to each other; null: relevance goes by product_id",
    )
    attributes: list[str] = Field(
        default_factory=list, description="columns with what sellers state; column name = key"
    )


class TableSource(Strict):
    """A table (CSV, TSV, JSONL, Parquet, save_to_disk); photos in a folder, behind URLs, or inside."""

    kind: Literal["table"]
    path: Path | str = Field(
        description="the table, or its URL; or a folder with one listings.* table, or of save_to_disk"
    )
    images: Path | str | None = Field(
        None, description="root of the image paths, a folder or a URL; null: the table's folder"
    )
    columns: ColumnMapping = Field(default_factory=lambda: ColumnMapping())
    allow_remote: list[str] = Field(
        default_factory=list, description="URL prefixes that may be read, by anyone; empty: none"
    )

    @field_validator("path", "images", mode="before")
    @classmethod
    def _path_or_url(cls, value: object) -> object:
        return Path(value) if isinstance(value, str) and "://" not in value else value

    @field_validator("allow_remote")
    @classmethod
    def _prefixes(cls, prefixes: list[str]) -> list[str]:
        for prefix in prefixes:
            scheme, _, rest = prefix.partition("://")
            if not scheme or not rest.strip("/"):
                raise ValueError(
                    f"{prefix!r} is no URL with a host or bucket, such as https://photos.shop.example/"
                )
        return prefixes


class GeneratedSource(Strict):
    """The embedded default: a rendered catalog, deterministic by seed."""

    kind: Literal["generated"]
    products: int = Field(600, ge=8)
    seed: int = 0


class HeldOutFiles(Strict):
    """The files of one held-out split, by name under the catalog's folder."""

    query: str = Field(description="listings that are searched with")
    gallery: str = Field(
        description="listings that are searched; validation and test may share the file, queries may be in it"
    )


class PublishedSource(Strict):
    """A benchmark as it is published: text files in a folder, and photos named by listing id."""

    path: Path = Field(description="folder that holds the files")
    images: Path | None = Field(
        None, description="folder of <id>.jpg, .jpeg, .png or .webp; null: `images` in the catalog's folder"
    )
    train: list[str] = Field(min_length=1, description="files to train on; their labels may be missing")
    validation: HeldOutFiles | None = Field(
        None, description="null: a share of the training products (splits.validation)"
    )
    test: HeldOutFiles | None = Field(None, description="null: splits.kind is products")
    overlap: Literal["error", "quarantine"] = Field(
        "error", description="what becomes of a training listing whose id or product is held out"
    )


class M5ProductSource(PublishedSource):
    """M5Product: JSON files `{"<id>": {"title": …, "label": …, "url": …}}`; no url is ever fetched."""

    kind: Literal["m5product"]
    label: Literal["product", "category"] = Field(
        "product", description="what `label` says: which product it is (fine-grained), or its category"
    )


class Product1MSource(PublishedSource):
    """Product1M: lines `id#####title#####url#####url#####label#;#label`; no url is ever fetched."""

    kind: Literal["product1m"]


class CatalogConfig(Strict):
    """Where listings come from and how they are kept."""

    source: Annotated[
        GeneratedSource | TableSource | M5ProductSource | Product1MSource, Field(discriminator="kind")
    ]
    image_size: int = Field(
        56, ge=28, multiple_of=28, description="edge in pixels of the square each photo is fitted into"
    )
    max_title_characters: int = Field(2000, ge=16, description="longer titles are quarantined")
    max_quarantined_share: float = Field(0.2, ge=0, le=1, description="above this share the run stops")
    max_deleted_share: float = Field(
        0.3,
        ge=0,
        le=1,
        description="share of the last run's listings; above it the run stops: an export may be cut off",
    )
    limit: int | None = Field(None, ge=1, description="read only the first rows: for a quick look")


class SplitsConfig(Strict):
    """Products are dealt to train, validation and test, or files say which; none is trained and tested on."""

    kind: Literal["products", "files"] = Field(
        "products", description="files: as the catalog's files say (m5product and product1m)"
    )
    validation: float = Field(0.1, gt=0, lt=0.5)
    test: float = Field(0.2, gt=0, lt=0.5)
    query_share: float = Field(
        0.5, gt=0, lt=1, description="share of a held-out product's listings that are queries"
    )
    seed: int = 0

    @model_validator(mode="after")
    def _files_say(self) -> Self:
        if self.kind == "files" and "test" in self.model_fields_set:
            raise ValueError("kind files: the test split is catalog.source.test, leave splits.test out")
        return self
