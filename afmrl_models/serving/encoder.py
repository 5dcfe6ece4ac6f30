"""The models that embed a query: those whose vectors the index holds, and the generator beside them."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from mlflow.exceptions import MlflowException
from PIL import Image
from sentence_transformers import SentenceTransformer

from afmrl_models.attributes.generator import AttributeGenerator
from afmrl_models.backbones.checkpoint import checkpoint_digest
from afmrl_models.catalog.images import ImageStore
from afmrl_models.config import GenerationConfig, Modality
from afmrl_models.embedding.embedder import encode_listings, load_embedder
from afmrl_models.errors import UserError
from afmrl_models.registry.models import find_version, get_alias, local_directory
from afmrl_models.registry.packaging import RegistryError, read_settings
from afmrl_models.registry.promotion.pair import CHAMPION, pair_of
from afmrl_models.registry.tracking import Tracking
from afmrl_models.retrieval.index import Origin
from afmrl_models.serving.query import Query

logger = logging.getLogger(__name__)

BY_ASKER = "you"
_WAIT_SECONDS = 60.0
_QUERY = "query"


class BusyError(UserError):
    """The models are at work for others; asking again later may help."""


class OtherModelError(UserError):
    """The registered model is not the one whose vectors the index holds; the message names both digests."""


@dataclass(frozen=True)
class Encoded:
    """A query's vectors, float32 (D,), of unit length.

    as_listed: of photo and text as the index shows its listings, comparable with calibrated similarities;
    None where the query cannot be shown so. attributes_by: BY_ASKER, or a generator version.
    """

    vector: np.ndarray
    as_listed: np.ndarray | None
    attributes: str | None
    attributes_by: str | None
    notes: tuple[str, ...] = ()


class QueryEncoder:
    """Embeds queries with the version an index names; one call of a model at a time.

    Models are loaded when first needed, or by `load`. Raises OtherModelError where a version's files are not
    those that were indexed, RegistryError where it cannot be had.
    """

    def __init__(self, tracking: Tracking, profile: str, origin: Origin, device: str) -> None:
        self.origin = origin
        self._tracking, self._profile, self._device = tracking, profile, device
        self._one_at_a_time = threading.Lock()

    def load(self) -> None:
        """Load both models now."""
        with self._alone():
            _ = self._embedder, self._generator

    @cached_property
    def image_size(self) -> int:
        """Edge of the square that queries' photos are fitted into."""
        return int(read_settings(self._embedder_directory)["image_size"])

    @cached_property
    def generator(self) -> str | None:
        """The generator that writes queries' attributes, models:/…; None: the champion has none.

        Where listings show attributes, the one that wrote theirs; else the one the embedder was judged with.
        """
        if self.origin.generator is not None:
            return self.origin.generator
        name, _, number = self.origin.embedder.removeprefix("models:/").partition("/")
        beside = pair_of(self._tracking, self._profile, find_version(self._tracking, name, number)).generator
        return None if beside is None else beside.uri

    def champion_since(self) -> str | None:
        """The champion, where it is another version than the index's; None, too, where MLflow is away."""
        try:
            champion = get_alias(self._tracking, f"{self._profile}-embedder", CHAMPION)
        except (MlflowException, OSError, UserError) as error:
            logger.warning("whether the index is the champion's is not known: %s", error)
            return None
        return None if champion is None or champion.uri == self.origin.embedder else champion.uri

    def encode(self, query: Query, *, with_generator: bool = True) -> Encoded:
        """Embed a query; its attributes are its own, or the generator's where it has photo and text.

        Raises BusyError after a minute of waiting for others' calls.
        """
        with self._alone():
            attributes, by = query.attributes, BY_ASKER if query.attributes else None
            notes: list[str] = []
            if attributes is None and with_generator and query.photo is not None and query.text is not None:
                written, notes = self._write(query)
                attributes, by = (written, self.generator) if written else (None, None)
            vector = self._embed(query, attributes)
            as_listed = None
            if query.photo is not None and query.text is not None:
                if self.origin.generator is None:
                    as_listed = vector if attributes is None else self._embed(query, None)
                elif by != BY_ASKER and with_generator:
                    as_listed = vector
        return Encoded(vector, as_listed, attributes, by, tuple(notes))

    def _write(self, query: Query) -> tuple[str | None, list[str]]:
        if self._generator is None:
            return None, ["The champion has no generator beside it: no attributes were written."]
        model, settings = self._generator
        writing = model.write(
            _frame(query), _only(query), settings["keys"], GenerationConfig(**settings["generation"])
        )[0]
        if writing.attributes() is not None:
            return writing.text, []
        return None, [f"What {self.generator} wrote is no attribute text and was left out: {writing.text}"]

    def _embed(self, query: Query, attributes: str | None) -> np.ndarray:
        has_text = query.text is not None or attributes is not None
        modality: Modality = "text" if query.photo is None else "multimodal" if has_text else "image"
        texts = None if attributes is None else {_QUERY: attributes}
        found = encode_listings(self._embedder, _frame(query), _only(query), modality, texts, 1)
        return cast(np.ndarray, found[0])

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._one_at_a_time.acquire(timeout=_WAIT_SECONDS):
            raise BusyError("the models are busy with other searches: try again in a while")
        try:
            yield
        finally:
            self._one_at_a_time.release()

    @cached_property
    def _embedder_directory(self) -> Path:
        return self._checked(self.origin.embedder, self.origin.embedder_digest)

    @cached_property
    def _embedder(self) -> SentenceTransformer:
        return load_embedder(self._embedder_directory, self._device)

    @cached_property
    def _generator(self) -> tuple[AttributeGenerator, dict[str, Any]] | None:
        if self.generator is None:
            return None
        directory = self._checked(self.generator, self.origin.generator_digest)
        settings = read_settings(directory)
        dtype = getattr(torch, settings["dtype"])
        return AttributeGenerator.load(directory, self._device, dtype), settings

    def _checked(self, uri: str, digest: str | None) -> Path:
        try:
            directory = local_directory(self._tracking, uri)
        except RegistryError as error:
            raise RegistryError(f"the index holds vectors of {uri}, which cannot be had: {error}") from error
        found = checkpoint_digest(directory)
        if digest is not None and found != digest:
            raise OtherModelError(
                f"the index was made with {uri} of digest {digest[:12]}, but that version's files now have "
                f"{found[:12]}: its vectors cannot be compared; materialize release/product_index"
            )
        return directory


class _OnePhoto:
    """The photo of a query in an ImageStore's place."""

    def __init__(self, pixels: np.ndarray | None) -> None:
        self._pixels = pixels

    def get(self, listing_id: str) -> Image.Image:
        assert self._pixels is not None
        return Image.fromarray(self._pixels)

    def pixels(self, listing_ids: list[str]) -> np.ndarray:
        assert self._pixels is not None
        return np.stack([self._pixels for _ in listing_ids])


def _only(query: Query) -> ImageStore:
    return cast(ImageStore, _OnePhoto(query.photo))


def _frame(query: Query) -> pd.DataFrame:
    return pd.DataFrame({"listing_id": [_QUERY], "title": [query.text or ""]}, dtype=object)
