"""Reading a profile: YAML, environment variables, validation with errors a person can act on."""

import os
import re
from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from afmrl_models.config.profile import Profile
from afmrl_models.errors import UserError

_VARIABLE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")
_EXPECTATIONS, _EXTENDS, _KIND = "expectations", "extends", "kind"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is ten times as fast


class ProfileError(UserError):
    """A profile that cannot be used; the message names the file and the key."""


def load_profile(
    path: str | Path,
    environment: Mapping[str, str] | None = None,
    instead: Mapping[str, Any] | None = None,
) -> Profile:
    """Read and validate a profile; `${ENV}` and `${ENV:-default}` are expanded in every string.

    `extends` may name another profile beside it: the profile then states what is different, and mappings are
    merged key by key, unless they state another `kind`. `expectations` may name a file, beside the profile
    that says so, that holds the list of entries. instead: values by dotted key that take the place of the
    file's.
    Raises ProfileError naming the file and key for a missing file, malformed YAML, a profile that extends
    itself, an unset variable, an unknown key or a wrong type.
    """
    path = Path(path)
    environment = os.environ if environment is None else environment
    layers = _layers(path)
    expanded = _expand(reduce(_merged, (document for _, document in layers)), environment, path, "")
    beside = None
    if isinstance(named := expanded.get(_EXPECTATIONS), str):
        stated_in = next(file for file, document in reversed(layers) if _EXPECTATIONS in document)
        beside = stated_in.parent / named
        expanded[_EXPECTATIONS] = _expand(_read(beside, "file of expectations"), environment, beside, "")
    for key, value in (instead or {}).items():
        *sections, name = key.split(".")
        place = expanded
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = value
    try:
        return Profile.model_validate(expanded)
    except ValidationError as error:
        changed = f" with {', '.join(instead)} as the run's configuration says" if instead else ""
        bases = "".join(f", which extends {base}" for base, _ in layers[-2::-1])
        lines = [f"{path}{bases}{changed}: {len(error.errors())} problem(s)"]
        for problem in error.errors():
            where = _place(problem["loc"], expanded.get(_EXPECTATIONS), beside)
            given = "" if problem["type"] == "missing" else f" (given: {problem['input']!r:.80})"
            lines.append(f"  {where}: {problem['msg']}{given}")
        raise ProfileError("\n".join(lines)) from None


def _layers(path: Path, extended_by: tuple[Path, ...] = ()) -> list[tuple[Path, dict[str, Any]]]:
    """The profile as written, behind those it extends, each with its file."""
    try:
        document = _read(path, "profile")
    except ProfileError as error:
        raise ProfileError(f"{error} ({extended_by[-1]} extends it)" if extended_by else str(error)) from None
    if not isinstance(document, dict):
        raise ProfileError(f"{path}: a profile is a mapping of keys, this is {type(document).__name__}")
    if _EXTENDS not in document:
        return [(path, document)]
    base = document.pop(_EXTENDS)
    if not isinstance(base, str):
        raise ProfileError(f"{path}: {_EXTENDS} names one profile beside this one (given: {base!r:.80})")
    chain = (*extended_by, path)
    if (path.parent / base).resolve() in {file.resolve() for file in chain}:
        raise ProfileError(f"{path}: {_EXTENDS}: {base} extends this profile")
    return [*_layers(path.parent / base, chain), (path, document)]


def _merged(base: Any, over: Any) -> Any:
    """Mappings key by key, unless they are of another `kind`; of anything else the latter."""
    if not (isinstance(base, dict) and isinstance(over, dict)):
        return over
    if over.get(_KIND, base.get(_KIND)) != base.get(_KIND):
        return over
    return {**base, **{key: _merged(base.get(key), value) for key, value in over.items()}}


def _read(path: Path, what: str) -> Any:
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)
    except FileNotFoundError:
        raise ProfileError(f"{path}: no such {what}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ProfileError(f"{path}: cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise ProfileError(f"{path}: not valid YAML: {error}") from None


def _place(location: tuple[int | str, ...], entries: Any, beside: Path | None) -> str:
    """Where in the profile a problem lies; of an expectation: its file, number and name."""
    parts = list(location)
    if parts[:1] == [_EXPECTATIONS]:
        start = [str(beside)] if beside else [_EXPECTATIONS]
        if len(parts) > 1 and isinstance(number := parts[1], int):
            entry = entries[number]
            name = entry.get("name") if isinstance(entry, dict) else None
            start.append(f"entry {number + 1}" + (f" ({name})" if name else ""))
        key = ".".join(map(str, parts[3:]))  # behind the number stands the kind of the entry
        return ": ".join([*start, *([key] if key else [])])
    return ".".join(map(str, parts)) or "(the whole profile)"


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
