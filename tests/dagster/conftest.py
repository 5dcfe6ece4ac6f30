"""One finished run of the whole chain, for all files that look at it."""

from collections.abc import Iterator

import dagster as dg
import pytest
from tiny import Chain, configured


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    folder = tmp_path_factory.mktemp("chain")
    with dg.DagsterInstance.ephemeral(tempdir=str(folder)) as instance:
        yield Chain(configured(folder), folder / "home", instance)
