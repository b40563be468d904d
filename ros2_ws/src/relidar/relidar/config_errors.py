"""What is wrong with a configuration, in plain words: the key, what was found, what is expected, and the nearest known key."""

import difflib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args

import yaml
from pydantic import BaseModel

EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
    "literal_error": "{expected}",
    "union_tag_invalid": "one of {expected_tags}",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le:g}",
    "too_short": "a list at least {min_length} long",
    "too_long": "a list at most {max_length} long",
    "string_too_short": "text at least {min_length} long",
    "string_too_long": "text at most {max_length} long",
    "string_pattern_mismatch": "text of the pattern {pattern}",
}
"""By pydantic's name of the error; the braces are filled from its context."""


def explain(
    errors: Sequence[Mapping[str, Any]],
    content: Mapping[str, Any],
    model: type[BaseModel],
    where: str,
    given: Sequence[str] = (),
) -> str:
    """A line about each of pydantic's errors.

    Args:
        errors: of `ValidationError.errors()`.
        content: that was checked.
        model: that it was checked against.
        where: the file, or whatever `content` is of.
        given: dotted keys of `content` whose values are not of `where` but were given on the command line.
    """
    # A list of which an entry is wrong is not too short because of that, as pydantic has it.
    faulty = {tuple(error["loc"][:end]) for error in errors for end in range(len(error["loc"]))}
    told = (error for error in errors if error["type"] != "too_short" or tuple(error["loc"]) not in faulty)
    return "\n".join(_explain(error, content, model, where, given) for error in told)


def _explain(
    error: Mapping[str, Any], content: Mapping[str, Any], model: type[BaseModel], where: str, given: Sequence[str]
) -> str:
    kind, parts = error["type"], _keys_of(error, content)
    key = ".".join(parts)
    of_command = any(f"{key}.".startswith(f"{name}.") for name in given)
    with_command = any(name.startswith(f"{key}.") or not key for name in given)
    named = f"--{key}" if of_command else key or "the file"
    source = "command line" if of_command else f"{where} and command line" if with_command else where
    if kind == "extra_forbidden":
        if with_command and not of_command:
            named, source = f"--{key}", "command line"
        return f"{source}: unknown key {named!r}; {_hint(parts, error['loc'], model, '--' if named.startswith('--') else '')}"
    if kind in ("missing", "union_tag_not_found"):
        values = f" (one of {', '.join(_tags(parts[-1], error, model))})" if kind == "union_tag_not_found" else ""
        return f"{'command line' if of_command else where}: key {key!r} is missing; add it{values}."
    context = error.get("ctx", {})
    found = error["input"][parts[-1]] if kind == "union_tag_invalid" else error["input"]
    text = json.dumps(found)
    shown = text if len(text) <= 80 else text[:77] + "..."
    if kind == "value_error":  # of a check of relidar's own; of a section it says what was found, too
        return f"{source}: {named}{': ' if isinstance(found, dict | list) else f' is {shown}, '}{context['error']}."
    expected = EXPECTED[kind].format(**context) if kind in EXPECTED else error["msg"].removeprefix("Input should be ")
    return f"{source}: {named} is {shown}, expected {expected}{_as_meant(kind, found)}."


def nearest(name: str, known: Iterable[str], likeness: float = 0.6) -> str | None:
    """The known name that `name` was probably meant to be."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=likeness)), None)


def _keys_of(error: Mapping[str, Any], content: Mapping[str, Any]) -> list[str]:
    """Where the error is, as the user wrote it: pydantic also names which of several models it tried."""
    keys: list[str] = []
    inside: Any = content
    for part in error["loc"]:
        if part in (inside if isinstance(inside, Mapping) else range(len(inside)) if isinstance(inside, list | tuple) else ()):
            inside = inside[part]
        elif error["type"] not in ("missing", "extra_forbidden") or part != error["loc"][-1]:
            continue
        keys.append(str(part))
    if error["type"] in ("union_tag_invalid", "union_tag_not_found"):
        keys.append(error["ctx"]["discriminator"].strip("'"))
    return keys


def _tags(name: str, error: Mapping[str, Any], model: type[BaseModel]) -> list[str]:
    """The values of the key that tells which of several models a section is."""
    fields = [inner.model_fields[name] for inner in models_at(model, error["loc"]) if name in inner.model_fields]
    return [repr(tag) for field in fields for tag in get_args(field.annotation)]


def _as_meant(kind: str, found: Any) -> str:
    """How to write a number that was taken for something else: YAML takes 1e-3 for text, the command line .5."""
    if kind not in ("float_type", "int_type", "int_from_float") or not isinstance(found, str | float):
        return ""
    try:
        number = float(found)
    except ValueError:
        return ""
    if kind == "float_type":
        written = yaml.safe_dump(number).split()[0] if math.isfinite(number) else ""
    else:  # a float holds whole numbers up to 2^53 exactly
        written = str(int(number)) if number.is_integer() and abs(number) < 2**53 else ""
    return f" ({'that is text; ' if isinstance(found, str) else ''}write {written})" if written else ""


def _hint(parts: Sequence[str], location: Sequence[int | str], model: type[BaseModel], dashes: str) -> str:
    """What an unknown key was probably meant to be, else which keys there are beside it."""
    beside = [name for inner in models_at(model, location[:-1]) for name in inner.model_fields]
    near = nearest(parts[-1], beside)
    if near is not None:
        return f"did you mean {dashes + '.'.join([*parts[:-1], near]) if dashes else near!r}?"
    elsewhere = {key.rpartition(".")[2]: key for key in _dotted(model) if key != ".".join(parts)}
    far = nearest(parts[-1], elsewhere, likeness=0.8)
    if far is not None:
        return f"did you mean {dashes + elsewhere[far]!r}?"
    return f"remove it (known here: {', '.join(dict.fromkeys(beside))})."


def models_at(model: type[BaseModel], location: Sequence[int | str]) -> list[type[BaseModel]]:
    """The models that the value at one of pydantic's locations may be of."""
    models = [model]
    for part in location:
        annotations = [inner.model_fields[part].annotation for inner in models if part in inner.model_fields]
        if annotations:
            models = [inner for annotation in annotations for inner in _models_in(annotation)]
        else:  # an index, or the tag of one of several models
            tagged = [m for m in models if any(part in get_args(field.annotation) for field in m.model_fields.values())]
            models = tagged or models
    return models


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in getattr(annotation, "__args__", ()) for model in _models_in(argument)]


def _dotted(model: type[BaseModel], section: str = "") -> Iterator[str]:
    """All keys of a model and of the models inside it, as the command line takes them."""
    for name, field in model.model_fields.items():
        yield section + name
        for inner in _models_in(field.annotation):
            yield from _dotted(inner, f"{section}{name}.")
