"""What every command shares: errors that a user can act on go to standard error, with exit code 1 (2 for bad usage)."""

import argparse
import math
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from relidar.errors import RelidarError


def parser(doc: str | None) -> argparse.ArgumentParser:
    """An argument parser whose help is the module docstring `doc`, laid out as written; it names itself as it was called."""
    spec = sys.modules["__main__"].__spec__
    called = f"python -m {spec.name.removesuffix('.__main__')}" if spec else None
    return argparse.ArgumentParser(prog=called, description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def existing(text: str) -> Path:
    """The path of a file or folder that is there, as a parser's type: one that is not is bad usage, told before work begins."""
    path = Path(text)
    try:
        is_there = path.exists()
    except OSError as error:  # a name that is too long, a folder that may not be read
        raise argparse.ArgumentTypeError(f"{text}: {error.strerror}") from None
    if not is_there:
        raise argparse.ArgumentTypeError(f"{text}: no such file or folder")
    return path


def at_least(low: int) -> Callable[[str], int]:
    """A parser's type: a whole number that is not below `low`."""

    def number(text: str) -> int:
        with suppress(ValueError):
            if (value := int(text)) >= low:
                return value
        raise argparse.ArgumentTypeError(f"{text!r}, expected a whole number of at least {low}")

    return number


def above_zero(text: str) -> float:
    """A parser's type: a finite number greater than 0."""
    with suppress(ValueError):
        if 0 < (value := float(text)) < math.inf:
            return value
    raise argparse.ArgumentTypeError(f"{text!r}, expected a number greater than 0")


def say(text: str) -> None:
    """Prints a command's result on standard output, at once."""
    print(text, flush=True)


def run(main: Callable[[], None]) -> None:
    """Runs `main` as the whole process: exit code 0; 1 with an error that a user can mend; 130 when interrupted."""
    try:
        main()
    except (RelidarError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
