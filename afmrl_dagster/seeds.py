"""Training seeds as Dagster partitions: what is trained once for each seed, and what all seeds share."""

from collections.abc import Sequence

import dagster as dg

from afmrl_models.config import Profile

# The job of one seed, and those of several: what they share, each of them, what compares them.
EVERYTHING = "everything"
SHARED, SEEDS, RELEASE = "shared", "seeds", "release"

# On the runs of a night: each stage starts the next one.
NIGHT_TAG = "afmrl/night"

_UNSEEDED = frozenset({"catalog", "attributes", "release"})
_PREFIX = "seed_"


def is_seeded(profile: Profile, key: Sequence[str]) -> bool:
    """Whether the asset with this key exists once for each seed: trained ones do, where seeds are several."""
    return len(profile.seeds) > 1 and key[0] not in _UNSEEDED


def partition_of(seed: int) -> str:
    """The seed's partition key, and its folder: seed_<n>."""
    return f"{_PREFIX}{seed}"


def seed_of(partition: str) -> int:
    """The seed that `partition_of` named."""
    return int(partition.removeprefix(_PREFIX))


def partitions(profile: Profile, key: Sequence[str]) -> dg.StaticPartitionsDefinition | None:
    """One partition a seed for a seeded asset and for its checks; None for any other."""
    if not is_seeded(profile, key):
        return None
    return dg.StaticPartitionsDefinition([partition_of(seed) for seed in profile.seeds])
