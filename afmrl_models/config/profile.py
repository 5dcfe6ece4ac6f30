"""The profile: all settings of one pipeline. Unknown keys are errors."""

from hashlib import sha256
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from afmrl_models.config.attributes import AttributesConfig
from afmrl_models.config.backbone import BackboneConfig
from afmrl_models.config.catalog import CatalogConfig, PublishedSource, SplitsConfig
from afmrl_models.config.champion import ChampionConfig
from afmrl_models.config.evaluation import EvaluationConfig
from afmrl_models.config.expectations import Expectations, least_expectations
from afmrl_models.config.operation import AlertsConfig, CatalogChangedConfig, RunsConfig
from afmrl_models.config.refinement import RefinementConfig
from afmrl_models.config.release import IdenticalProductsConfig, ProductIndexConfig
from afmrl_models.config.strict import Strict
from afmrl_models.config.training import EmbedderTraining

# As Dagster takes them.
_OWNER = r"^(team:.+|[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,7})$"


class TrackingConfig(Strict):
    """Where MLflow keeps its record."""

    uri: str | None = Field(None, description="any MLflow tracking URI; null: sqlite under AFMRL_HOME")


class Profile(Strict):
    """One pipeline: its catalog, models, training and judgement."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    seeds: list[Annotated[int, Field(ge=0, lt=2**32)]] = Field(
        default_factory=lambda: [0],
        min_length=1,
        description="everything that is trained is trained once for each: weights, batches, sampling",
    )
    device: Literal["auto", "cpu", "cuda"] = "auto"
    cpu_threads: int = Field(
        1, ge=1, description="threads of torch on a CPU; small models are fastest with one"
    )
    rounds: int = Field(1, ge=1, description="RAR + CIT rounds after round_0")
    owners: list[Annotated[str, Field(pattern=_OWNER)]] = Field(
        default_factory=lambda: ["team:catalog"],
        min_length=1,
        description="who to ask about this pipeline: e-mail addresses, or team:<name>; shown on every asset",
    )
    schedule: str = Field("0 3 * * *", description="cron of the nightly retraining (off until switched on)")
    timezone: str = "UTC"
    catalog_changed: CatalogChangedConfig = Field(default_factory=lambda: CatalogChangedConfig())
    alerts: AlertsConfig = Field(default_factory=lambda: AlertsConfig())
    runs: RunsConfig = Field(default_factory=lambda: RunsConfig())
    catalog: CatalogConfig
    splits: SplitsConfig = Field(default_factory=lambda: SplitsConfig())
    embedder: BackboneConfig = Field(default_factory=lambda: BackboneConfig())
    generator: BackboneConfig = Field(default_factory=lambda: BackboneConfig())
    attributes: AttributesConfig = Field(default_factory=lambda: AttributesConfig())
    training: EmbedderTraining = Field(default_factory=lambda: EmbedderTraining())
    evaluation: EvaluationConfig = Field(default_factory=lambda: EvaluationConfig())
    refinement: RefinementConfig = Field(default_factory=lambda: RefinementConfig())
    expectations: Expectations = Field(
        default_factory=least_expectations, description="a file beside the profile, or the entries themselves"
    )
    champion: ChampionConfig = Field(default_factory=lambda: ChampionConfig())
    product_index: ProductIndexConfig = Field(default_factory=lambda: ProductIndexConfig())
    identical_products: IdenticalProductsConfig = Field(default_factory=lambda: IdenticalProductsConfig())
    tracking: TrackingConfig = Field(default_factory=lambda: TrackingConfig())

    @model_validator(mode="after")
    def _different_seeds(self) -> Self:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds: {self.seeds} holds a seed twice")
        return self

    @model_validator(mode="after")
    def _photos_are_large_enough(self) -> Self:
        kept = self.catalog.image_size
        for role in ("embedder", "generator"):
            seen = getattr(self, role).image_size
            if seen is not None and seen > kept:
                raise ValueError(
                    f"{role}.image_size: {seen} is above catalog.image_size: photos are kept at {kept}"
                )
        return self

    @model_validator(mode="after")
    def _splits_fit_the_source(self) -> Self:
        source, splits = self.catalog.source, self.splits
        held_out = isinstance(source, PublishedSource) and (source.validation or source.test)
        if splits.kind == "products" and held_out:
            raise ValueError("catalog.source names held-out files: set splits.kind to files")
        if splits.kind == "files":
            if not isinstance(source, PublishedSource) or source.test is None:
                raise ValueError(
                    "splits.kind files needs catalog.source.test (kinds m5product and product1m)"
                )
            unused = {"validation", "query_share", "seed"} & splits.model_fields_set
            if source.validation is not None and unused:
                raise ValueError(
                    f"catalog.source.validation names files: leave splits.{min(unused)} out, it deals nothing"
                )
        return self

    def digest(self) -> str:
        """12 hex digits that differ between any two profiles whose settings differ."""
        return sha256(self.model_dump_json().encode()).hexdigest()[:12]
