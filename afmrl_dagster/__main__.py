"""`python -m afmrl_dagster` is `afmrl`."""

from afmrl_dagster.cli import main

main()
