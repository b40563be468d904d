"""Which code made a result, and with which command."""

import os
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path


@cache
def commit() -> str:
    """The commit of the code when this process first asked, with "-dirty" if it was changed; "unknown" outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def command(module: str) -> str:
    """The command line of this process, `python -m MODULE ...`, as it can be typed on any machine that sets RELIDAR_DATA."""
    return " ".join(["python -m", module, *map(_portable, sys.argv[1:])])


def _portable(word: str) -> str:
    """A word quoted for a shell; the folder of real scans, which is elsewhere on each machine, is written as $RELIDAR_DATA."""
    data = os.environ.get("RELIDAR_DATA")
    option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    if not data or not Path(data).is_absolute() or not Path(value).is_relative_to(data):
        return shlex.quote(word)
    inside = Path(value).relative_to(data).as_posix()
    return option + equals + "$RELIDAR_DATA" + ("" if inside == "." else f"/{shlex.quote(inside)}")
