import re
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from relidar.config_file import Model, load
from relidar.errors import ConfigError


class Optim(Model):
    lr: float = 0.1
    steps: int = 10


class Near(Model):
    kind: Literal["near"] = "near"
    metres: float = 1.0


class Far(Model):
    kind: Literal["far"] = "far"
    metres: float = 100.0
    haze: float = 0.0


class Config(Model):
    kind: Literal["a", "b"] = "a"
    optim: Optim = Optim()
    other: Optim = Optim()
    sizes: tuple[float, ...] = ()
    place: Annotated[Near | Far, Field(discriminator="kind")] = Near()


def loaded(tmp_path: Path, text: str, *overrides: str) -> Config:
    (tmp_path / "c.yaml").write_text(text)
    return load(tmp_path / "c.yaml", Config, overrides)


def test_a_file_holds_differences_only(tmp_path: Path) -> None:
    assert loaded(tmp_path, "") == Config()
    assert loaded(tmp_path, "optim: {lr: 0.5}\nsizes: [1, 2.5]") == Config(optim=Optim(lr=0.5), sizes=(1, 2.5))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("optim: {lrr: 1.0}", "unknown key 'optim.lrr'; did you mean 'lr'"),
        ("optm: {}", "unknown key 'optm'; did you mean 'optim'"),
        ("zzzzzzz: 1", "unknown key 'zzzzzzz'; remove it"),
        ("optim: {lr: 1e-3}", 'optim.lr is "1e-3"'),  # YAML reads 1e-3 as a string; 1.0e-3 is the number
        ("optim: {lr: '0.1'}", "optim.lr"),
        ("optim: {lr: true}", "optim.lr"),
        ("optim: {steps: 1.5}", "optim.steps is 1.5"),
        ("kind: c", 'kind is "c"'),
        ("optim: 3", "optim is 3"),
        ("sizes: 2020-01-01", "only strings, numbers"),
        ("[1, 2]", "found a list at top level"),
        ("a: [", "not readable as YAML"),
        ("kind: a\n\nkind: b", "key 'kind' is in line 1 and again in line 3"),
        ("optim:\n  lr: 1.0\n  'lr': 1.0", "key 'lr' is in line 2 and again in line 3"),
        ("optim: &a {lr: 1.0}\nother: {<<: *a, steps: 1, steps: 2}", "key 'steps' is in line 2 and again in line 2"),
        ("!!python/object/apply:os.getcwd []", "not readable as YAML"),
        ("a: 2020-13-45", "not readable as YAML"),
        ("[" * 5000, "not readable as YAML"),
        ("sizes: &x [*x]", "only strings, numbers"),
    ],
)
def test_faults_name_file_key_and_cure(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text)
    assert message in str(caught.value)
    assert "c.yaml" in str(caught.value)


@pytest.mark.parametrize("text", ["optim: {lr: .nan}", "optim: {lr: .inf}", "1: 2"])
def test_values_that_json_does_not_know_are_refused_in_words(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"c\.yaml"):
        loaded(tmp_path, text)


def test_a_missing_key_is_named_without_its_section(tmp_path: Path) -> None:
    class Inner(Model):
        needed: int
        given: str = ""

    class Outer(Model):
        inner: Inner

    (tmp_path / "c.yaml").write_text("inner: {given: secret}")
    with pytest.raises(ConfigError, match=r"c\.yaml: key 'inner\.needed' is missing; add it\.$") as caught:
        load(tmp_path / "c.yaml", Outer)
    assert "secret" not in str(caught.value)


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, "kind: c\noptim: {lr: x, steps: y}")
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize(
    "words", [("--optim.lr", "1e-3"), ("--optim.lr=1e-3",), ("--optim.lr=5", "--optim.lr", "0.001"), ("--optim", '{"lr": 1e-3}')]
)
def test_overrides_win(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert loaded(tmp_path, "optim: {lr: 0.5}", *words).optim.lr == 1e-3


def test_an_override_leaves_other_sections_of_the_same_anchor_alone(tmp_path: Path) -> None:
    for text in ("optim: &a {lr: 2.0}\nother: *a", "optim: &a {lr: 2.0}\nother:\n  <<: *a"):
        assert loaded(tmp_path, text, "--optim.lr", "0.5") == Config(optim=Optim(lr=0.5), other=Optim(lr=2.0))


def test_an_empty_section_takes_overrides(tmp_path: Path) -> None:
    words = ("--optim.lr", "0.5", "--optim.steps", "3")
    assert loaded(tmp_path, "optim:", *words) == Config(optim=Optim(lr=0.5, steps=3))


def test_a_section_of_another_kind_starts_anew(tmp_path: Path) -> None:
    file = "place: {kind: far, metres: 50.0, haze: 0.5}"
    assert loaded(tmp_path, file, "--place.kind", "near") == Config(place=Near())
    assert loaded(tmp_path, file, "--place.metres", "2.0", "--place.kind", "near") == Config(place=Near(metres=2.0))
    assert loaded(tmp_path, file, "--place.kind", "far", "--place.haze", "1.0") == Config(place=Far(metres=50.0, haze=1.0))
    # A section that does not say its kind is of the default's.
    assert loaded(tmp_path, "place: {metres: 2.0}", "--place.kind", "near") == Config(place=Near(metres=2.0))
    assert loaded(tmp_path, "place: {metres: 2.0}", "--place.kind", "far") == Config(place=Far())
    # The root has a key of that name, too, but no kinds to choose from.
    assert loaded(tmp_path, "optim: {lr: 2.0}", "--kind", "b") == Config(kind="b", optim=Optim(lr=2.0))


def test_merged_keys_may_be_given_anew(tmp_path: Path) -> None:
    text = "optim: &a {lr: 2.0, steps: 1}\nother: &b {<<: *a, steps: 2}"
    assert loaded(tmp_path, text) == Config(optim=Optim(lr=2.0, steps=1), other=Optim(lr=2.0, steps=2))
    text = "optim:\n  <<: {lr: 2.0}\n  <<: {steps: 1}"
    assert loaded(tmp_path, text) == Config(optim=Optim(lr=2.0, steps=1))
    # What was merged is merged once more, beside what it is of.
    text = "other: &b {<<: &a {lr: 2.0, steps: 1}, steps: 2}\noptim: {<<: [*b, *a], lr: 3.0}"
    assert loaded(tmp_path, text) == Config(optim=Optim(lr=3.0, steps=2), other=Optim(lr=2.0, steps=2))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--optim.lr",), "expected pairs"),
        (("optim.lr", "1"), "expected pairs"),
        (("--kind.x", "1"), "'kind' is a value"),
        (("--optim.lrr", "1"), "command line: unknown key '--optim.lrr'; did you mean '--optim.lr'?"),
    ],
)
def test_bad_overrides_are_told(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        loaded(tmp_path, "kind: a", *words)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load(tmp_path / "c.yaml", Config)
    with pytest.raises(ConfigError, match="not readable"):
        load(tmp_path, Config)
