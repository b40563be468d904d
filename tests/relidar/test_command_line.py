"""What all commands share."""

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
