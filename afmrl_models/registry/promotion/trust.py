"""Whether a registered version can be loaded, and is the one that was evaluated."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import pandas as pd

from afmrl_models.backbones.checkpoint import checkpoint_digest
from afmrl_models.config import Modality
from afmrl_models.registry.models import DIGEST, ModelVersion, RegistryError, local_directory
from afmrl_models.registry.packaging import read_settings
from afmrl_models.registry.promotion.pair import version_tags
from afmrl_models.registry.tracking import Tracking

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from afmrl_models.attributes.generator import AttributeGenerator
    from afmrl_models.catalog.images import ImageStore
    from afmrl_models.config import GenerationConfig

# Rounding, where a listing shares a batch with others than before: of float32, and of half precision.
_COSINE_DISTANCE = {"float32": 1e-4, "half": 1e-2}
_SAME_TEXTS = {"float32": 0.95, "half": 0.8}
_TEXTS_COMPARED = 32
_ERROR_CHARACTERS = 300


class Untrusted(RegistryError):
    """A version that cannot be loaded or is not what was evaluated; the message says which and why."""


@dataclass(frozen=True)
class Shown:
    """What tonight's evaluation showed to the challenger, and what came out.

    sample: `Evaluation.sample`; texts: the attribute table it was evaluated with; gallery_texts: whether
    gallery listings showed theirs, too.
    """

    sample: pd.DataFrame
    texts: pd.DataFrame
    listings: pd.DataFrame
    images: "ImageStore"
    gallery_texts: bool


def trusted_directory(tracking: Tracking, version: ModelVersion) -> Path:
    """The version's directory, its files those that were registered. Raises Untrusted."""
    try:
        directory = local_directory(tracking, version.uri)
        registered = version_tags(tracking, version).get(DIGEST)
    except RegistryError as error:
        raise Untrusted(str(error)) from error
    found = checkpoint_digest(directory)
    if registered is not None and found != registered:
        raise Untrusted(
            f"{version.uri}: its files are not those that were registered (digest {found}, registered "
            f"{registered}): {directory}"
        )
    return directory


def trusted_embedder(tracking: Tracking, version: ModelVersion, device: str) -> "SentenceTransformer":
    """Load it from the registry. Raises Untrusted."""
    from afmrl_models.embedding.embedder import load_embedder

    directory = trusted_directory(tracking, version)
    try:
        return load_embedder(directory, device)
    except Exception as error:  # what damaged files raise differs by library and by file
        raise _unloadable(version, directory, error) from error


def trusted_generator(tracking: Tracking, version: ModelVersion, device: str) -> "AttributeGenerator":
    """Load it from the registry. Raises Untrusted."""
    from afmrl_models.attributes.generator import AttributeGenerator

    directory = trusted_directory(tracking, version)
    try:
        return AttributeGenerator.load(directory, device)
    except Exception as error:  # as above
        raise _unloadable(version, directory, error) from error


def prompted_keys(tracking: Tracking, version: ModelVersion) -> list[str]:
    """The keys that a registered generator is asked for. Raises Untrusted."""
    try:
        return list(read_settings(local_directory(tracking, version.uri))["keys"])
    except (RegistryError, KeyError) as error:
        raise Untrusted(f"{version.uri}: it does not say which keys it writes: {error}") from error


def demand_same_vectors(
    version: ModelVersion, model: "SentenceTransformer", shown: Shown, batch_size: int
) -> None:
    """Raise Untrusted unless the model returns the sampled vectors of the evaluation, up to rounding."""
    from afmrl_models.embedding.embedder import encode_listings

    if shown.sample.empty:
        raise Untrusted(
            f"{version.uri}: its evaluation kept no vectors to compare with: materialize "
            "the last round's retrieval_metrics again"
        )
    valid = shown.texts[shown.texts["valid"]]
    texts = dict(zip(valid["listing_id"], valid["attributes_text"], strict=True))
    listings = shown.listings.set_index("listing_id", drop=False)
    for (role, modality), rows in shown.sample.groupby(["role", "modality"]):
        evaluated = np.stack(rows["vector"].to_list())
        attributes = texts if role == "query" or shown.gallery_texts else None
        found = encode_listings(
            model,
            listings.loc[rows["listing_id"]],
            shown.images,
            cast(Modality, modality),
            attributes,
            batch_size,
        )
        if found.shape != evaluated.shape:
            raise Untrusted(
                f"{version.uri}: it returns vectors of {found.shape[1]} dimensions, "
                f"but those evaluated have {evaluated.shape[1]}"
            )
        distance = 1 - (found * evaluated).sum(axis=1)
        worst = int(np.argmax(np.where(np.isfinite(distance), distance, np.inf)))
        if not distance[worst] <= _COSINE_DISTANCE[_precision(next(model.parameters()).dtype)]:
            raise Untrusted(
                f"{version.uri}: its vectors are not those that were evaluated: of {len(rows)} {role} "
                f"listings ({modality}), {rows['listing_id'].iloc[worst]!r} is {distance[worst]:.4f} away "
                "(cosine)"
            )


def demand_same_texts(
    version: ModelVersion,
    generator: "AttributeGenerator",
    keys: list[str],
    shown: Shown,
    config: "GenerationConfig",
) -> None:
    """Raise Untrusted unless the generator writes what it wrote for the evaluation, up to rounding."""
    name = f"{version.name}/{version.version}"
    written = shown.texts[shown.texts["generator_version"] == name]
    written = written[written["listing_id"].isin(set(shown.sample["listing_id"]))].head(_TEXTS_COMPARED)
    if written.empty:
        raise Untrusted(f"{version.uri}: no text that it wrote was evaluated")
    texts = dict(zip(written["listing_id"], written["attributes_text"], strict=True))
    listings = shown.listings[shown.listings["listing_id"].isin(texts.keys())].reset_index(drop=True)
    again = generator.generate(listings, shown.images, keys, config)
    ids = list(listings["listing_id"])
    differing = [i for i, text in zip(ids, again, strict=True) if text != texts[i]]
    least = _SAME_TEXTS[_precision(next(generator.model.parameters()).dtype)]
    if len(differing) > (1 - least) * len(ids):
        raise Untrusted(
            f"{version.uri}: its texts are not those that were evaluated: {len(differing)} of {len(ids)} "
            f"differ, such as that of {differing[0]!r}"
        )


def _precision(dtype: object) -> str:
    return "float32" if str(dtype).endswith(("float32", "float64")) else "half"


def _unloadable(version: ModelVersion, directory: Path, error: Exception) -> Untrusted:
    said = " ".join(str(error).split())[:_ERROR_CHARACTERS]
    return Untrusted(f"{version.uri}: it cannot be loaded from {directory}: {type(error).__name__}: {said}")
