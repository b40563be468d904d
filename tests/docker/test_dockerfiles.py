"""The images cannot be built without a container engine; what they name must exist all the same."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # which pytest brings

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DOCKERFILES = sorted((ROOT / "docker").glob("*.Dockerfile"))


def instructions(path: Path) -> list[tuple[str, str]]:
    """(keyword, argument) of each instruction, continued lines joined, comments dropped."""
    lines = [line for line in path.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in joined.splitlines()]


def names(requirements: list[str]) -> set[str]:
    """The distributions that requirements name, spelled as PyPI does."""
    return {re.split(r"[^\w.-]", requirement)[0].lower().replace("_", "-") for requirement in requirements}


def test_both_images_are_there() -> None:
    assert [path.name for path in DOCKERFILES] == ["train.Dockerfile", "vehicle.Dockerfile"]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_every_extra_exists(path: Path) -> None:
    (installed,) = re.findall(r'pip install [^&]*"\.\[([\w,-]+)\]"', " ".join(line for _, line in instructions(path)))
    assert set(installed.split(",")) <= set(PROJECT["project"]["optional-dependencies"])


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_every_copied_path_exists_and_is_in_the_context(path: Path) -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copies = [argument.split() for keyword, argument in instructions(path) if keyword == "COPY"]
    sources = {source for *sources, _ in copies for source in sources}
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert source in allowed, source


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_every_package_that_pip_installs_is_copied(path: Path) -> None:
    sources = {word for keyword, argument in instructions(path) if keyword == "COPY" for word in argument.split()}
    top = {name.split(".")[0] for name in PROJECT["tool"]["setuptools"]["packages"]}
    assert top - {"relidar"} <= sources
    assert "ros2_ws" in sources


def test_the_vehicle_has_no_torch() -> None:
    training_only = {"torch", "lightning", "open-clip-torch"}
    extras = PROJECT["project"]["optional-dependencies"]
    assert training_only <= names(extras["train"])
    vehicle = names(PROJECT["project"]["dependencies"] + extras["gpu"] + extras["vehicle"])
    assert {"numpy", "onnxruntime-gpu", "tensorrt", "onnxruntime", "rosbags"} <= vehicle
    assert not vehicle & training_only


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_hadolint_finds_nothing(path: Path) -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed")
    done = subprocess.run([hadolint, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
