"""The options that say where a command of export finds scans."""

import argparse
from pathlib import Path

import pytest

from export.scan_arguments import add_scan_arguments, check_scan_arguments


@pytest.fixture
def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    add_scan_arguments(parser, "taken evenly")
    return parser


def test_several_sources_and_topics(parser: argparse.ArgumentParser, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b.mcap").touch()
    sources = [tmp_path / "a", tmp_path / "b.mcap"]
    words = [word for source in sources for word in ("--scans", str(source))]
    arguments = parser.parse_args([*words, "--topic", "/front", "--topic", "/rear"])
    assert (arguments.scans, arguments.topic) == (sources, ["/front", "/rear"])
    check_scan_arguments(parser, arguments)
    check_scan_arguments(parser, parser.parse_args([]))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--scans", "nowhere"], "nowhere: no such file or folder"),
        (["--topic", "/points"], "go with --scans"),
        (["--intensity-max", "1"], "go with --scans"),
        (["--scans", ".", "--intensity-max", "0"], "expected a number greater than 0"),
    ],
)
def test_what_cannot_be_meant_is_bad_usage(
    parser: argparse.ArgumentParser, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    with pytest.raises(SystemExit) as end:
        check_scan_arguments(parser, parser.parse_args(words))
    assert end.value.code == 2
    assert said in capsys.readouterr().err
