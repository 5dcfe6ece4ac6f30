"""The embedded default: a catalog of rendered products whose families differ in one attribute."""

from afmrl_models.catalog.generated.writing import COLUMNS, generate_catalog

__all__ = ["COLUMNS", "generate_catalog"]
