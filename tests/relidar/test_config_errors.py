"""What is said of a faulty configuration: plain words, the key as the user wrote it, and who gave the value."""

import re
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field, model_validator

from relidar.config_file import Model, load
from relidar.errors import ConfigError


class Near(Model):
    kind: Literal["near"] = "near"
    margin: float = 1.0


class Far(Model):
    kind: Literal["far"] = "far"
    distance_m: float = 1.0


class Layer(Model):
    name: str
    width: Annotated[int, Field(ge=1, le=8)] = 1


class Range(Model):
    low: float = 0.0
    high: float = 1.0

    @model_validator(mode="after")
    def _ordered(self) -> "Range":
        if self.low >= self.high:
            raise ValueError(f"low {self.low} is not below high {self.high}")
        return self


class Run(Model):
    loss: Annotated[Near | Far, Field(discriminator="kind")] = Near()
    layers: Annotated[tuple[Layer, ...], Field(min_length=1, max_length=2)] = (Layer(name="first"),)
    size: tuple[float, float] = (1.0, 1.0)
    share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    steps: int = 1
    whole: bool = False
    name: Annotated[str, Field(min_length=2)] = "run"
    mode: Literal["train", "test"] = "train"
    range: Range = Range()


def error_of(tmp_path: Path, text: str, *overrides: str) -> str:
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file, Run, overrides)
    return str(caught.value).replace(str(file), "c.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps: many", 'c.yaml: steps is "many", expected a whole number.'),
        ("steps: 1.5", "c.yaml: steps is 1.5, expected a whole number."),
        ("share: x", 'c.yaml: share is "x", expected a number.'),
        ("share: 1e-3", 'c.yaml: share is "1e-3", expected a number (that is text; write 0.001).'),
        ("share: 1e-5", 'c.yaml: share is "1e-5", expected a number (that is text; write 1.0e-05).'),
        ("share: 1e999", 'c.yaml: share is "1e999", expected a number.'),
        ("steps: 1e3", 'c.yaml: steps is "1e3", expected a whole number (that is text; write 1000).'),
        ("steps: '7'", 'c.yaml: steps is "7", expected a whole number (that is text; write 7).'),
        ("steps: 15e-1", 'c.yaml: steps is "15e-1", expected a whole number.'),
        ("steps: 9007199254740993.0e0", 'c.yaml: steps is "9007199254740993.0e0", expected a whole number.'),
        ("steps: 1.0e+3", "c.yaml: steps is 1000.0, expected a whole number (write 1000)."),
        ("steps: true", "c.yaml: steps is true, expected a whole number."),
        ("share: 0", "c.yaml: share is 0, expected more than 0."),
        ("share: 1", "c.yaml: share is 1, expected less than 1."),
        ("share: .inf", "c.yaml: share is Infinity, expected a finite number."),
        ("whole: 1", "c.yaml: whole is 1, expected true or false."),
        ("name: 3", "c.yaml: name is 3, expected text."),
        ("name: x", 'c.yaml: name is "x", expected text at least 2 long.'),
        ("mode: tset", "c.yaml: mode is \"tset\", expected 'train' or 'test'."),
        ("range: 3", "c.yaml: range is 3, expected a mapping of keys to values."),
        ("range: {low: 2}", "c.yaml: range: low 2.0 is not below high 1.0."),
        ("layers: {name: a}", 'c.yaml: layers is {"name": "a"}, expected a list.'),
        ("layers: [{name: a, width: 9}]", "c.yaml: layers.0.width is 9, expected at most 8."),
        ("layers: [{name: a}, {name: b}, {name: c}]", ", expected a list at most 2 long."),
        ("layers: []", "c.yaml: layers is [], expected a list at least 1 long."),
        ("size: [1.0]", "c.yaml: key 'size.1' is missing; add it."),
        ("size: [1.0, 2.0, 3.0]", "c.yaml: size is [1.0, 2.0, 3.0], expected a list at most 2 long."),
        ("layers: [{width: 1}]", "c.yaml: key 'layers.0.name' is missing; add it."),
        ("loss: {kind: relational}", "c.yaml: loss.kind is \"relational\", expected one of 'near', 'far'."),
        ("loss: {kind: 3}", "c.yaml: loss.kind is 3, expected one of 'near', 'far'."),
        ("loss: {kind: }", "c.yaml: loss.kind is null, expected one of 'near', 'far'."),
        ("loss: {kind: margin, margin: margin}", "c.yaml: loss.kind is \"margin\", expected one of 'near', 'far'."),
        ("loss: {margin: 2.0}", "c.yaml: key 'loss.kind' is missing; add it (one of 'near', 'far')."),
        ("loss: {}", "c.yaml: key 'loss.kind' is missing; add it (one of 'near', 'far')."),
        ("loss: 3", "c.yaml: loss is 3, expected a mapping of keys to values."),
        ("loss: {kind: far, distance_m: x}", 'c.yaml: loss.distance_m is "x", expected a number.'),
    ],
)
def test_values_are_refused_in_plain_words(tmp_path: Path, text: str, message: str) -> None:
    said = error_of(tmp_path, text)
    assert said.endswith(message)
    assert "\n" not in said
    assert not re.search(r"[Ii]nput|permitted|[Vv]alue error|valid (?:integer|number|string|tuple)", said)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stepps: 1", "c.yaml: unknown key 'stepps'; did you mean 'steps'?"),
        ("low: 1", "c.yaml: unknown key 'low'; did you mean 'range.low'?"),
        ("range: {hihg: 1}", "c.yaml: unknown key 'range.hihg'; did you mean 'high'?"),
        ("layers: [{name: a, widht: 1}]", "c.yaml: unknown key 'layers.0.widht'; did you mean 'width'?"),
        (
            "maybe: 1",
            "c.yaml: unknown key 'maybe'; remove it (known here: loss, layers, size, share, steps, whole, name, mode, range).",
        ),
        # A key of another kind of loss: that very key must not be proposed.
        ("loss: {kind: far, margin: 1.0}", "c.yaml: unknown key 'loss.margin'; remove it (known here: kind, distance_m)."),
    ],
)
def test_unknown_keys_come_with_the_nearest_known(tmp_path: Path, text: str, message: str) -> None:
    assert error_of(tmp_path, text) == message


@pytest.mark.parametrize(
    ("text", "words", "message"),
    [
        ("steps: 1", ["--steps", "abc"], 'command line: --steps is "abc", expected a whole number.'),
        ("", ["--range.low", "abc"], 'command line: --range.low is "abc", expected a number.'),
        ("", ["--range", '{"low": "abc"}'], 'command line: --range.low is "abc", expected a number.'),
        ("", ["--low", "1"], "command line: unknown key '--low'; did you mean '--range.low'?"),
        ("", ["--rnage.low", "1"], "command line: unknown key '--rnage'; did you mean '--range'?"),
        ("range: {high: 2.0}", ["--range.low", "3"], "c.yaml and command line: range: low 3.0 is not below high 2.0."),
        ("steps: abc", ["--whole", "true"], 'c.yaml: steps is "abc", expected a whole number.'),
        ("", ["--share", ".5"], 'command line: --share is ".5", expected a number (that is text; write 0.5).'),
        ("", ["--steps", "1e3"], "command line: --steps is 1000.0, expected a whole number (write 1000)."),
        ("", ["--loss.margin", "2"], "c.yaml: key 'loss.kind' is missing; add it (one of 'near', 'far')."),
        ("", ["--loss", "{}"], "command line: key 'loss.kind' is missing; add it (one of 'near', 'far')."),
        ("", ["--loss.kind", "3"], "command line: --loss.kind is 3, expected one of 'near', 'far'."),
        ("", ["--layers", "[{}]"], "command line: key 'layers.0.name' is missing; add it."),
        ("", ["--stepsize", "1"], "command line: unknown key '--stepsize'; did you mean '--steps'?"),
    ],
)
def test_values_of_the_command_line_are_not_blamed_on_the_file(tmp_path: Path, text: str, words: list[str], message: str) -> None:
    assert error_of(tmp_path, text, *words) == message
