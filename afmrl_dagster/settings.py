"""The settings an asset was made with, as its Dagster code version: where they change, the asset is stale."""

import json
from collections.abc import Sequence
from hashlib import sha256

from afmrl_models.config import Profile

# Assets that read these sections of the profile and no others.
_SECTIONS: dict[str, set[str]] = {
    "raw_catalog": {"catalog"},
    "listings": {"catalog"},
    "splits": {"splits"},
    "evaluation_set": set(),
}
# When and where is no setting of a result; another seed or round leaves the finished ones as they are.
_OPERATION = {"runs", "catalog_changed", "alerts", "schedule", "timezone", "owners"}
_NEVER = {"name", "device", "cpu_threads", "tracking"} | _OPERATION
_RELEASE_ONLY = {"seeds", "rounds", "champion"}
# Read by the assets of these names, the first by both.
_HANDED_OVER = ("product_index", "identical_products")
# How trained models are judged, which changes none of them.
_MEASURES = {"tasks", "ks", "batch_size", "bootstrap", "oracle"}


def settings_digest(profile: Profile, key: Sequence[str]) -> str:
    """12 hexadecimal digits over all settings that can change the output of the asset with this key.

    A setting that nothing is known of counts for every asset: retraining for nothing is the lesser harm.
    """
    left_out = set(_NEVER)
    if key[0] != "release":
        left_out |= _RELEASE_ONLY
        if key[-1] != "product_attributes":
            left_out.add("expectations")
    if key[-1] not in _HANDED_OVER:
        left_out |= set(_HANDED_OVER)
    elif key[-1] == "product_index":
        left_out.add("identical_products")
    settings = profile.model_dump(mode="json", exclude=left_out)
    if key[0] != "release" and key[-1] != "retrieval_metrics":
        settings["evaluation"] = profile.evaluation.model_dump(mode="json", exclude=_MEASURES)
    chosen = _SECTIONS.get(key[-1], settings)
    document = json.dumps({name: settings[name] for name in chosen}, sort_keys=True)
    return sha256(document.encode()).hexdigest()[:12]
