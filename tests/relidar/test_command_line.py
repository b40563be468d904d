"""What all commands share."""

from collections.abc import Callable
from pathlib import Path

import pytest

from relidar import command_line


def test_a_path_that_is_there_is_taken(tmp_path: Path) -> None:
    parser = command_line.parser("A command.")
    parser.add_argument("--config", type=command_line.existing)
    assert parser.parse_args(["--config", str(tmp_path)]).config == tmp_path


@pytest.mark.parametrize(
    ("path", "said"), [("absent.yaml", "absent.yaml: no such file or folder"), ("a" * 5000, "a: File name too long")]
)
def test_a_path_that_is_not_there_is_bad_usage(path: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = command_line.parser("A command.")
    parser.add_argument("--config", type=command_line.existing)
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(["--config", path])
    assert ended.value.code == 2
    assert f"{said}\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "text", "value"), [(command_line.at_least(2), "2", 2), (command_line.above_zero, "1e-3", 0.001)]
)
def test_a_number_in_its_range_is_taken(kind: Callable[[str], float], text: str, value: float) -> None:
    parser = command_line.parser("A command.")
    parser.add_argument("--number", type=kind)
    assert parser.parse_args(["--number", text]).number == value


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        *[(command_line.at_least(2), text, "a whole number of at least 2") for text in ("1", "-3", "2.5", "two", "")],
        *[(command_line.above_zero, text, "a number greater than 0") for text in ("0", "-1", "nan", "inf", "one")],
    ],
)
def test_a_number_outside_its_range_is_bad_usage(
    kind: Callable[[str], float], text: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = command_line.parser("A command.")
    parser.add_argument("--number", type=kind)
    with pytest.raises(SystemExit) as ended:
        parser.parse_args([f"--number={text}"])
    assert ended.value.code == 2
    assert f"argument --number: {text!r}, expected {expected}\n" in capsys.readouterr().err
