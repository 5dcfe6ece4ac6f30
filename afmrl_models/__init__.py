"""AFMRL's machine learning: a library that finds identical products, usable without Dagster."""
