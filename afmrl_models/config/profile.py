"""The pydantic models of a profile. Unknown keys are errors; every field says what it does."""

from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from afmrl_models.config.champion import ChampionConfig
from afmrl_models.config.expectations import Expectations, least_expectations
from afmrl_models.config.operation import AlertsConfig, CatalogChangedConfig, RunsConfig
from afmrl_models.config.release import IdenticalProductsConfig, ProductIndexConfig
from afmrl_models.config.strict import Strict
from afmrl_models.config.tasks import TaskName

AgclScale = Literal["self", "raw"]
Enrichment = Literal["query", "both"]
Modality = Literal["image", "text", "multimodal"]
PairKind = Literal["same_product", "image_to_text", "image_to_multimodal"]
RewardMetric = Literal["set_recall", "mrr", "ndcg"]


# As Dagster takes them.
_OWNER = r"^(team:.+|[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,7})$"


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


class LoraSettings(Strict):
    """peft's LoRA; for pretrained backbones only."""

    rank: int = Field(16, ge=1)
    alpha: int = Field(32, ge=1)
    dropout: float = Field(0.0, ge=0, lt=1)
    target_modules: list[str] = Field(default_factory=lambda: ["q_proj", "k_proj", "v_proj", "o_proj"])


class BackboneConfig(Strict):
    """A hub id or local directory, or (both null) a small random-weight model built here."""

    pretrained: str | None = Field(
        None, description="hub id or checkpoint directory; null: build a small one"
    )
    revision: str | None = Field(None, description="commit or tag of the hub model")
    hidden_size: int = Field(
        128, ge=32, multiple_of=16, description="small model: width of the language model"
    )
    layers: int = Field(3, ge=1, description="small model: layers of the language model")
    vision_layers: int = Field(3, ge=1, description="small model: layers of the vision tower")
    vocabulary: int = Field(
        2048, ge=300, description="small model: size of the tokenizer trained on the training split"
    )
    dtype: Literal["float32", "bfloat16"] = "float32"
    attention: Literal["sdpa", "flash_attention_2", "eager"] = "sdpa"
    lora: LoraSettings | None = None

    @model_validator(mode="after")
    def _lora_needs_pretrained(self) -> Self:
        if self.lora is not None and self.pretrained is None:
            raise ValueError(
                "lora needs a pretrained backbone: adapters on random weights learn less than full training"
            )
        return self


class TeacherConfig(Strict):
    """Who writes the attributes the generator is distilled from."""

    kind: Literal["catalog", "openai", "transformers"] = "catalog"
    model: str | None = Field(
        None, description="openai: model name at the endpoint; transformers: hub id or directory"
    )
    base_url: str | None = Field(None, description="openai: for example http://127.0.0.1:8000/v1")
    api_key: str = Field("unset", description="openai: usually ${OPENAI_API_KEY:-unset}")
    concurrency: int = Field(8, ge=1, description="openai: requests under way at once")
    timeout: float = Field(120.0, gt=0, description="openai: seconds for one request")
    max_retries: int = Field(5, ge=0, description="openai: retries with back-off for one listing")
    batch_size: int = Field(8, ge=1, description="transformers: listings a batch")

    @model_validator(mode="after")
    def _needs(self) -> Self:
        if self.kind == "openai" and not (self.model and self.base_url):
            raise ValueError("teacher kind openai needs model and base_url")
        if self.kind == "transformers" and not self.model:
            raise ValueError("teacher kind transformers needs model")
        return self


class SftConfig(Strict):
    """Distillation of the teacher into the generator (TRL's SFTTrainer)."""

    steps: int = Field(200, ge=1, description="optimiser steps")
    batch_size: int = Field(64, ge=1, description="listings a step")
    mini_batch_size: int | None = Field(None, ge=1, description="rows a forward pass; null: batch_size")
    learning_rate: float = Field(1e-3, gt=0, description="peak of the cosine schedule")
    warmup_share: float = Field(
        0.05, ge=0, lt=1, description="share of the steps in which the learning rate rises"
    )
    title_dropout: float = Field(
        0.0, ge=0, lt=1, description="share of the rows shown without title, so that the photo must be read"
    )
    vary_photos: bool = Field(
        False, description="show each photo in another crop and light at each reading, as other sellers would"
    )


class GenerationConfig(Strict):
    """How the generator writes attributes for many listings."""

    batch_size: int = Field(128, ge=1, description="listings a batch")
    max_new_tokens: int = Field(96, ge=8, description="longer texts are cut")
    chunk_size: int = Field(
        2048, ge=1, description="listings written to disk at once; a stopped run resumes after them"
    )


class AttributesConfig(Strict):
    """Attribute text: its keys, the teacher, the generator's distillation and generation."""

    keys: list[str] = Field(
        default_factory=list, description="keys asked for in the prompt; empty: those the catalog states"
    )
    teacher: TeacherConfig = Field(default_factory=lambda: TeacherConfig())
    sft: SftConfig = Field(default_factory=lambda: SftConfig())
    generation: GenerationConfig = Field(default_factory=lambda: GenerationConfig())


def _pair_kinds() -> dict[PairKind, float]:
    return {"same_product": 0.8, "image_to_text": 0.05, "image_to_multimodal": 0.15}


class EmbedderTraining(Strict):
    """Contrastive training, shared by the baseline and by AGCL."""

    warmup_steps: int = Field(
        100, ge=0, description="InfoNCE steps that warm up a random-weight base_embedder"
    )
    steps: int = Field(200, ge=1, description="steps of the baseline, of AGCL and of each further round")
    batch_size: int = Field(128, ge=2, description="pairs a step")
    mini_batch_size: int = Field(32, ge=1, description="pairs a forward pass")
    gradient_caching: bool = Field(
        True, description="memory of one mini-batch only; off: a third faster, memory of the whole batch"
    )
    learning_rate: float = Field(1e-3, gt=0, description="peak of the cosine schedule")
    warmup_share: float = Field(
        0.05, ge=0, lt=1, description="share of the steps in which the learning rate rises"
    )
    temperature: float = Field(0.05, gt=0, description="similarities are divided by it")
    pair_kinds: dict[PairKind, float] = Field(
        default_factory=_pair_kinds,
        description="share of the batches of each kind",
    )
    neighbours: int = Field(
        1,
        ge=1,
        description="products of like attributes that come into a batch together; 1: random batches",
    )
    attribute_dropout: float = Field(
        0.5, ge=0, le=1, description="share of training queries without attribute text"
    )
    gallery_attribute_dropout: float = Field(1.0, ge=0, le=1, description="the same for the gallery side")
    margin: float = Field(
        0.1, ge=0, description="AGCL's delta: a candidate above the positive by more is left out"
    )
    bm25_scale: AgclScale = Field("self", description="AGCL's B_ij: raw, or divided by B_ii")
    bm25_k1: float = Field(1.2, ge=0, description="BM25's term saturation")
    bm25_b: float = Field(0.75, ge=0, le=1, description="BM25's length normalisation")

    @model_validator(mode="after")
    def _kinds(self) -> Self:
        if not self.pair_kinds or any(share < 0 for share in self.pair_kinds.values()):
            raise ValueError("pair_kinds needs at least one kind, and no negative share")
        if sum(self.pair_kinds.values()) <= 0:
            raise ValueError("pair_kinds: the shares are all zero")
        return self


def _query_alone() -> list[Enrichment]:
    return ["query"]


class EvaluationConfig(Strict):
    """Retrieval tasks and downstream measures on the test split."""

    tasks: list[TaskName] = Field(
        default_factory=lambda: list(get_args(TaskName)),
        min_length=1,
    )
    ks: list[int] = Field(default_factory=lambda: [1, 5, 10], min_length=1)
    batch_size: int = Field(256, ge=1, description="listings a forward pass")
    enrich: list[Enrichment] = Field(
        default_factory=_query_alone,
        min_length=1,
        description="sides that show attributes, a set of rows each; the first: the ladder's and champion's",
    )
    oracle: bool = Field(
        True, description="also rows with the shop's true attributes: the most a generator could bring"
    )
    bootstrap: int = Field(1000, ge=100, description="resamples of products for the 95 % intervals")

    @model_validator(mode="after")
    def _each_enrichment_once(self) -> Self:
        if len(set(self.enrich)) < len(self.enrich):
            raise ValueError(f"enrich names a side twice: {self.enrich}")
        return self

    @property
    def enriches_gallery(self) -> bool:
        """The ladder's rows, and so the champion, show attributes on the gallery's side, too."""
        return self.enrich[0] == "both"


class RefinementConfig(Strict):
    """RAR: GRPO with the retrieval reward (docs/method.md stage 2), and CIT (stage 3)."""

    metric: RewardMetric = Field(
        "set_recall",
        description="the reward of a text: this measure of the ranking it leads to, at k. set_recall is the "
        "paper's Recall@k; mrr and ndcg also tell apart texts that find the match at different ranks",
    )
    k: int = Field(50, ge=1, description="how deep the reward looks")
    gallery: Literal["all", "category"] = Field(
        "all",
        description="category: the reward ranks a query among its own category only",
    )
    invalid_reward: float = Field(-0.1, description="reward of a text that the attribute grammar refuses")
    group_size: int = Field(8, ge=2, description="attribute texts sampled for a query")
    queries_per_step: int = Field(8, ge=1, description="listings a step; each gets group_size texts")
    mini_batch_size: int | None = Field(None, ge=1, description="texts a forward pass; null: all of a step's")
    passes: int = Field(1, ge=1, description="updates on the same sampled texts; above 1 the clipping acts")
    steps: int = Field(40, ge=1, description="batches of texts sampled, scored and learned from")
    learning_rate: float = Field(1e-4, gt=0, description="of GRPO, constant")
    beta: float = Field(
        0.04, ge=0, description="weight of the KL term that keeps the policy near the SFT model"
    )
    clip: float = Field(0.2, gt=0, description="GRPO's epsilon")
    temperature: float = Field(1.0, gt=0, description="of the sampling")
    max_new_tokens: int = Field(96, ge=8, description="longer texts are cut")
    cit_share: float = Field(
        0.3, gt=0, le=1, description="share of the training listings written anew for CIT"
    )

    @model_validator(mode="after")
    def _mini_batches(self) -> Self:
        texts = self.group_size * self.queries_per_step
        if self.mini_batch_size is not None and texts % self.mini_batch_size:
            raise ValueError(
                f"mini_batch_size {self.mini_batch_size} does not divide the {texts} texts of a step "
                "(group_size x queries_per_step)"
            )
        return self


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
