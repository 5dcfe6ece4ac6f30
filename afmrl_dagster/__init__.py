"""AFMRL as a Dagster project: assets, checks, resources, schedules and the command line."""
