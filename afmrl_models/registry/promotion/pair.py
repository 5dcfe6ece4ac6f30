"""An embedder and the generator that writes its queries' attributes: what is in force is both together."""

from dataclasses import dataclass

from mlflow.exceptions import MlflowException

from afmrl_models.registry.models import (
    ModelVersion,
    RegistryError,
    find_version,
    get_alias,
    remove_alias,
    set_alias,
)
from afmrl_models.registry.tracking import Tracking

CHAMPION, CHALLENGER = "champion", "challenger"
# Tags of an embedder's version.
GENERATOR = "afmrl.generator"  # the number of the generator's version beside it, or NONE
REFUSED = "afmrl.refused"  # why it is not promoted again
NONE = "none"


@dataclass(frozen=True)
class Pair:
    """generator None: queries show titles alone, as the baseline's do."""

    embedder: ModelVersion
    generator: ModelVersion | None = None

    @property
    def name(self) -> str:
        """Such as `shop-embedder/3 with shop-generator/2`."""
        shown = f"{self.embedder.name}/{self.embedder.version}"
        if self.generator is not None:
            shown += f" with {self.generator.name}/{self.generator.version}"
        return shown

    @property
    def versions(self) -> tuple[ModelVersion, ...]:
        """Both, or the embedder alone."""
        return (self.embedder,) if self.generator is None else (self.embedder, self.generator)


def champion_pair(tracking: Tracking, profile: str) -> Pair | None:
    """The pair in force; None before the first promotion."""
    embedder = get_alias(tracking, f"{profile}-embedder", CHAMPION)
    return None if embedder is None else pair_of(tracking, profile, embedder)


def pair_of(tracking: Tracking, profile: str, embedder: ModelVersion) -> Pair:
    """The embedder and the generator it was judged with; of one never judged, the champion generator.

    Raises RegistryError where that generator was deleted.
    """
    noted = version_tags(tracking, embedder).get(GENERATOR)
    if noted is None:
        return Pair(embedder, get_alias(tracking, f"{profile}-generator", CHAMPION))
    return Pair(embedder, None if noted == NONE else find_version(tracking, f"{profile}-generator", noted))


def put_in_force(tracking: Tracking, profile: str, pair: Pair) -> None:
    """Make both champions. The embedder comes last: whose tag names the generator, should this be cut off."""
    note_generator(tracking, pair)
    if pair.generator is None:
        remove_alias(tracking, f"{profile}-generator", CHAMPION)
    else:
        set_alias(tracking, pair.generator.name, CHAMPION, pair.generator.version)
    set_alias(tracking, pair.embedder.name, CHAMPION, pair.embedder.version)


def note_generator(tracking: Tracking, pair: Pair) -> None:
    """Tag the embedder's version with the generator beside it."""
    beside = NONE if pair.generator is None else str(pair.generator.version)
    tag_version(tracking, pair.embedder, {GENERATOR: beside})


def version_tags(tracking: Tracking, version: ModelVersion) -> dict[str, str]:
    """The tags of a registered version. Raises RegistryError where it was deleted."""
    try:
        return dict(tracking.client.get_model_version(version.name, str(version.version)).tags)
    except MlflowException as error:
        raise RegistryError(f"{version.uri}: no such version: {error}") from None


def tag_version(tracking: Tracking, version: ModelVersion, tags: dict[str, str]) -> None:
    """Set tags; MLflow holds 5,000 characters of each."""
    for key, value in tags.items():
        tracking.client.set_model_version_tag(version.name, str(version.version), key, value[:5000])
