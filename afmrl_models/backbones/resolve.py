"""From a profile's backbone to a checkpoint directory: the hub's, a local one, or a small model."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from afmrl_models.backbones.processor import register
from afmrl_models.backbones.small import build_embedder, build_generator
from afmrl_models.config import BackboneConfig
from afmrl_models.errors import UserError

Role = Literal["embedder", "generator"]

# Weights as safetensors only: nothing is unpickled.
FILES = ["*.safetensors", "*.json", "*.txt", "*.jinja", "*.model"]


class BackboneNotFoundError(UserError):
    """A profile's pretrained backbone is neither a checkpoint directory nor reachable on the hub."""


def resolve(
    config: BackboneConfig, role: Role, texts: Iterable[str], image_size: int, out: Path, seed: int
) -> Path:
    """The checkpoint directory of a profile's backbone.

    pretrained null: a small model is built in `out` from `texts` (see `small`). Otherwise a local directory
    is taken as it is, and a hub id is fetched at `revision` (or found in the local cache); `texts` is not
    read and `out` not written. Raises BackboneNotFoundError.
    """
    register()
    if config.pretrained is None:
        build = {"embedder": build_embedder, "generator": build_generator}[role]
        return build(config, texts, image_size, out, seed)
    local = Path(config.pretrained).expanduser()
    if local.is_dir():
        if not (local / "config.json").is_file():
            raise BackboneNotFoundError(
                f"{role}.pretrained: {local} holds no config.json, so it is no checkpoint directory"
            )
        return local
    try:
        return Path(snapshot_download(config.pretrained, revision=config.revision, allow_patterns=FILES))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        at = f" at {config.revision}" if config.revision else ""
        raise BackboneNotFoundError(
            f"{role}.pretrained: {config.pretrained!r}{at} is no local directory and was not found on the "
            f"hub or in its cache ({type(error).__name__}: {error}). Set it to a checkpoint directory, allow "
            f"the hub (HF_HUB_OFFLINE=0), or set it to null for a small model"
        ) from error
