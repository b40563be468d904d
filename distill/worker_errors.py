"""Errors of a data loader's worker processes, told as if they had happened here."""

from collections.abc import Iterator
from contextlib import contextmanager

from relidar.errors import RelidarError


@contextmanager
def plain_worker_errors() -> Iterator[None]:
    """Within it, a RelidarError from a worker loses the traceback that PyTorch puts into its message."""
    try:
        yield
    except RelidarError as error:
        kind = type(error)
        _, found, message = str(error).rpartition(f"{kind.__qualname__}: ")
        if not found or "DataLoader worker" not in str(error):
            raise
        raise kind(message.strip()) from error
