"""What the documents and docstrings name exists, and every command they show is one."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted(ROOT.glob("*/README.md")), ROOT / "ros2_ws/src/relidar/README.md"]
SOURCES = [
    path for folder in ("distill", "export", "ros2_ws/src/relidar/relidar") for path in sorted((ROOT / folder).rglob("*.py"))
]
COMMANDS = sorted(set(re.findall(r"python -m ((?:distill|export|relidar)\.[\w.]+)", (ROOT / "README.md").read_text())))


@pytest.mark.parametrize("path", [*DOCUMENTS, *SOURCES], ids=lambda path: str(path.relative_to(ROOT)))
def test_every_configuration_that_is_named_exists(path: Path) -> None:
    for name in re.findall(r"configs/[\w/-]+\.yaml", path.read_text(encoding="utf-8")):
        assert (ROOT / name).is_file(), name


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (path.parent / target).exists(), target


def test_the_readme_is_short_and_complete() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    assert not re.findall(r"\b[A-Z]+_(?:MIOU|CLASSES)\b", text)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_readme_has_help_with_an_example(command: str) -> None:
    done = subprocess.run([sys.executable, "-m", command, "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert f"python -m {command}" in done.stdout


def test_bad_usage_ends_with_code_2() -> None:
    done = subprocess.run([sys.executable, "-m", "distill.demo", "--fast"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "unrecognized arguments: --fast" in done.stderr
