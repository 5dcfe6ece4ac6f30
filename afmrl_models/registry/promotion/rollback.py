"""The way back to an earlier champion, and the table of all versions."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from afmrl_models.registry.models import RegistryError, find_version
from afmrl_models.registry.promotion.pair import (
    GENERATOR,
    REFUSED,
    Pair,
    champion_pair,
    pair_of,
    put_in_force,
    tag_version,
    version_tags,
)
from afmrl_models.registry.promotion.record import DECIDED_AT, DECISION, HEADLINE, REPLACED
from afmrl_models.registry.promotion.trust import trusted_embedder, trusted_generator
from afmrl_models.registry.tracking import Tracking


@dataclass(frozen=True)
class WayBack:
    """A rollback that is possible."""

    left: Pair
    target: Pair

    def event(self, who: str, why: str) -> dict[str, Any]:
        """Its line in the history."""
        return {
            "outcome": "rolled back",
            "champion_before": self.left.name,
            "champion_after": self.target.name,
            "who": who,
            "reason": why,
            "decided_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }


def find_way_back(tracking: Tracking, profile: str, to: int | None, formerly: set[str]) -> WayBack:
    """Where the alias can go back to.

    to: an embedder's version that was champion; None: the one that today's champion replaced. formerly: names
    of all pairs that have been champion. Raises RegistryError for any other, and for one that does not load.
    """
    name = f"{profile}-embedder"
    left = champion_pair(tracking, profile)
    if left is None:
        raise RegistryError(f"{name} has no champion, so there is nothing to roll back")
    numbers = sorted({_number(pair, name) for pair in formerly} - {left.embedder.version, -1})
    choice = f"versions that were champion: {', '.join(map(str, numbers)) or 'no other'}"
    if to is None:
        replaced = version_tags(tracking, left.embedder).get(REPLACED)
        if replaced is None:
            raise RegistryError(f"{left.embedder.uri} replaced no champion; name one with --to ({choice})")
        to = _number(replaced, name)
    if to == left.embedder.version:
        raise RegistryError(f"models:/{name}/{to} is the champion already ({choice})")
    embedder = find_version(tracking, name, str(to))
    if to not in numbers:
        raise RegistryError(f"models:/{name}/{to} was never champion ({choice})")
    target = pair_of(tracking, profile, embedder)
    trusted_embedder(tracking, target.embedder, "cpu")
    if target.generator is not None:
        trusted_generator(tracking, target.generator, "cpu")
    return WayBack(left, target)


def roll_back(tracking: Tracking, profile: str, way: WayBack, event: dict[str, Any]) -> None:
    """Put the target in force; what is left is tagged, so that no night promotes it again."""
    why = f"rolled back {event['decided_at']} by {event['who']}" + (
        f": {event['reason']}" if event["reason"] else ""
    )
    shared = {version.uri for version in way.target.versions}
    for version in way.left.versions:
        if version.uri not in shared:
            tag_version(tracking, version, {REFUSED: why})
    for version in way.target.versions:
        if REFUSED in version_tags(tracking, version):
            tracking.client.delete_model_version_tag(version.name, str(version.version), REFUSED)
    put_in_force(tracking, profile, way.target)


def versions_table(tracking: Tracking, profile: str) -> pd.DataFrame:
    """One row an embedder's version, the newest first.

    version, aliases, trained, round, generator, headline (the champion's metric on the evaluation set),
    decision, decided, refused. Raises RegistryError where there is none.
    """
    name = f"{profile}-embedder"
    client = tracking.client
    found = client.search_model_versions(f"name='{name}'", max_results=10_000)
    if not found:
        raise RegistryError(f"{name} has no version yet")
    aliases: dict[str, list[str]] = {}
    for alias, number in client.get_registered_model(name).aliases.items():
        aliases.setdefault(str(number), []).append(alias)
    rows = []
    for version in sorted(found, key=lambda v: int(v.version), reverse=True):
        tags = version.tags
        trained = datetime.fromtimestamp(version.creation_timestamp / 1000, UTC)
        rows.append(
            {
                "version": int(version.version),
                "aliases": ", ".join(sorted(aliases.get(str(version.version), []))),
                "trained": trained.strftime("%Y-%m-%d %H:%M"),
                "round": tags.get("round", ""),
                "generator": tags.get(GENERATOR, ""),
                "headline": tags.get(HEADLINE, ""),
                "decision": tags.get(DECISION, ""),
                "decided": tags.get(DECIDED_AT, "")[:16].replace("T", " "),
                "refused": tags.get(REFUSED, ""),
            }
        )
    return pd.DataFrame(rows)


def _number(pair: str, embedder: str) -> int:
    """The embedder's version in a Pair's name, -1 where it is another profile's."""
    found = re.match(rf"{re.escape(embedder)}/(\d+)\b", pair)
    return int(found[1]) if found else -1
