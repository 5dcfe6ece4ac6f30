"""A profile: everything one pipeline is told, read from one YAML file."""

from afmrl_models.config.attributes import AttributesConfig, GenerationConfig, SftConfig, TeacherConfig
from afmrl_models.config.backbone import BackboneConfig, LoraSettings
from afmrl_models.config.catalog import (
    CatalogConfig,
    ColumnMapping,
    GeneratedSource,
    HeldOutFiles,
    M5ProductSource,
    Product1MSource,
    PublishedSource,
    SplitsConfig,
    TableSource,
)
from afmrl_models.config.champion import ChampionConfig, TaskLimit
from afmrl_models.config.evaluation import Enrichment, EvaluationConfig
from afmrl_models.config.loading import ProfileError, load_profile
from afmrl_models.config.operation import AlertsConfig, CatalogChangedConfig, RunsConfig
from afmrl_models.config.profile import Profile, TrackingConfig
from afmrl_models.config.refinement import RefinementConfig, RewardMetric
from afmrl_models.config.release import IdenticalProductsConfig, ProductIndexConfig
from afmrl_models.config.training import AgclScale, EmbedderTraining, Modality, NeighboursBy, PairKind

__all__ = [
    "AgclScale",
    "AlertsConfig",
    "AttributesConfig",
    "BackboneConfig",
    "CatalogChangedConfig",
    "CatalogConfig",
    "ChampionConfig",
    "ColumnMapping",
    "EmbedderTraining",
    "Enrichment",
    "EvaluationConfig",
    "GeneratedSource",
    "GenerationConfig",
    "HeldOutFiles",
    "IdenticalProductsConfig",
    "LoraSettings",
    "M5ProductSource",
    "Modality",
    "NeighboursBy",
    "PairKind",
    "Product1MSource",
    "ProductIndexConfig",
    "Profile",
    "ProfileError",
    "PublishedSource",
    "RefinementConfig",
    "RewardMetric",
    "RunsConfig",
    "SftConfig",
    "SplitsConfig",
    "TableSource",
    "TaskLimit",
    "TeacherConfig",
    "TrackingConfig",
    "load_profile",
]
