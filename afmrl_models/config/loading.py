"""Reading a profile: YAML, environment variables, validation with errors a person can act on."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from afmrl_models.config.profile import Profile
from afmrl_models.errors import UserError

_VARIABLE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")


class ProfileError(UserError):
    """A profile that cannot be used; the message names the file and the key."""


def load_profile(path: str | Path, environment: Mapping[str, str] | None = None) -> Profile:
    """Read and validate a profile; `${ENV}` and `${ENV:-default}` are expanded in every string.

    Raises ProfileError naming the file and key for a missing file, malformed YAML, an unset
    variable, an unknown key or a wrong type.
    """
    path = Path(path)
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ProfileError(f"{path}: no such profile") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ProfileError(f"{path}: cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise ProfileError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(document, dict):
        raise ProfileError(f"{path}: a profile is a mapping of keys, this is {type(document).__name__}")
    expanded = _expand(document, os.environ if environment is None else environment, path, "")
    try:
        return Profile.model_validate(expanded)
    except ValidationError as error:
        lines = [f"{path}: {len(error.errors())} problem(s)"]
        for problem in error.errors():
            key = ".".join(str(part) for part in problem["loc"]) or "(the whole profile)"
            given = "" if problem["type"] == "missing" else f" (given: {problem['input']!r:.80})"
            lines.append(f"  {key}: {problem['msg']}{given}")
        raise ProfileError("\n".join(lines)) from None


def _expand(value: Any, environment: Mapping[str, str], path: Path, key: str) -> Any:
    if isinstance(value, dict):
        return {k: _expand(v, environment, path, f"{key}.{k}".lstrip(".")) for k, v in value.items()}
    if isinstance(value, list):
        return [_expand(item, environment, path, f"{key}.{i}") for i, item in enumerate(value)]
    if not isinstance(value, str):
        return value

    def substitute(match: re.Match[str]) -> str:
        found = environment.get(match["name"]) or match["default"]
        if found is None:
            raise ProfileError(f"{path}: {key}: the environment variable {match['name']} is not set")
        return found

    return _VARIABLE.sub(substitute, value)
