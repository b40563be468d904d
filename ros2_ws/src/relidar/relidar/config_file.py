"""YAML files as typed models: an unknown key, a wrong type or an impossible value is an error naming file, key and cure."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from relidar.config_errors import explain, models_at
from relidar.errors import ConfigError


class Model(BaseModel):
    """Base of all configuration models: immutable, no unknown keys, no silent conversion, no NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())


M = TypeVar("M", bound=Model)


class _Loader(yaml.SafeLoader):
    """Refuses a repeated key, of which PyYAML would silently take the last one."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        line_of: dict[str, int] = {}
        for key, _ in node.value:  # as written: the keys of merged mappings (<<) are put in later
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                line = key.start_mark.line + 1
                if key.value in line_of:
                    raise yaml.YAMLError(f"key {key.value!r} is in line {line_of[key.value]} and again in line {line}")
                line_of[key.value] = line
        return node


def load(path: Path, model: type[M], overrides: Sequence[str] = ()) -> M:
    """Reads a YAML file into `model`.

    Args:
        path: YAML mapping; holds only what differs from the model's defaults.
        model: the typed model.
        overrides: command-line words such as ["--optim.lr", "1e-3"]: dotted keys and JSON values (or plain strings). One that
            makes a section of another kind, such as ["--loss.kind", "similarity"], leaves nothing of what the file says there.

    Raises:
        ConfigError: unreadable file, unknown key, wrong type or a value out of range.
    """
    content, pairs = read_yaml(path), _pairs(overrides)
    # What kind a section is of comes first: the other keys of the command line are that kind's.
    for key, value in sorted(pairs, key=lambda pair: not _tells_kind(model, pair[0])):
        _assign(content, key, value, _tells_kind(model, key), _default(model, key))
    return validate(content, model, str(path), [key for key, _ in pairs])


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file, read with a safe loader; an empty file is an empty mapping.

    Raises:
        ConfigError: unreadable file, a repeated key, or no mapping.
    """
    try:
        content = _Loader(path.read_text(encoding="utf-8")).get_single_data()
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; give the path of a YAML file.") from None
    # PyYAML leaves impossible dates as ValueError (of which UnicodeDecodeError is one) and too deep nesting as RecursionError.
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: not readable as YAML: {error}. Mend the file.") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: found a {type(content).__name__} at top level, expected a mapping of keys to values.")
    return content


def validate(content: Mapping[str, Any], model: type[M], where: str, given: Sequence[str] = ()) -> M:
    """Checks a mapping against `model`; errors name `where` it is from, or the command line for keys `given` there."""
    try:
        # JSON mode is strict about types yet takes a list for a tuple, which is all that YAML can say.
        return model.model_validate_json(json.dumps(content))
    except ValidationError as error:
        raise ConfigError(explain([dict(e) for e in error.errors()], content, model, where, given)) from None
    except (TypeError, ValueError, RecursionError) as error:  # dates and the like, cycles, too deep: they have no JSON form
        raise ConfigError(f"{where}: {error}; only strings, numbers, booleans, lists and mappings are understood.") from None


def _pairs(words: Sequence[str]) -> list[tuple[str, Any]]:
    flat = [part for word in words for part in (word.split("=", 1) if word.startswith("--") else [word])]
    if len(flat) % 2 or any(not key.startswith("--") for key in flat[::2]):
        raise ConfigError(f"overrides {' '.join(words)!r}: expected pairs such as --optim.lr 1e-3.")
    return [(key[2:], _json_or_string(value)) for key, value in zip(flat[::2], flat[1::2], strict=True)]


def _json_or_string(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _tells_kind(model: type[Model], dotted: str) -> bool:
    """Whether a key tells which of several models its section is."""
    *section, last = dotted.split(".")
    fields = [kind.model_fields.get(last) for kind in models_at(model, section)]
    return len(fields) > 1 and all(field is not None and get_origin(field.annotation) is Literal for field in fields)


def _default(model: type[Model], dotted: str) -> Any:
    """What a key is in the default of its section, if that has one: the kind of a section that does not say its kind."""
    *section, last = dotted.split(".")
    fields = [kind.model_fields.get(section[-1]) for kind in models_at(model, section[:-1])] if section else []
    return next((getattr(field.default, last, None) for field in fields if field is not None), None)


def _assign(content: dict[str, Any], dotted: str, value: Any, tells_kind: bool, default: Any) -> None:
    *parents, last = dotted.split(".")
    for parent in parents:
        section = {} if content.get(parent) is None else content[parent]
        if not isinstance(section, dict):
            raise ConfigError(f"--{dotted}: {parent!r} is a value, not a section.")
        content[parent] = dict(section)  # a copy, since YAML's aliases are one object in several places
        content = content[parent]
    if tells_kind and content.get(last, default) != value:
        content.clear()
    content[last] = value
