"""Benchmarks in their published formats: M5Product's JSON and Product1M's text lines."""

from afmrl_models.catalog.published.source import PublishedCatalog, open_published

__all__ = ["PublishedCatalog", "open_published"]
