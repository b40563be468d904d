"""numba functions that are compiled once a machine and anew when any source of their package changes.

numba itself looks at the file of the function alone when it decides whether what it has on disk is still right. But kernels take
in functions and constants of other modules, and would go on with those as they were.
"""

import zlib
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numba


def cached_kernel(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Like `numba.njit(cache=True, nogil=True, ...)`; what is inlined into such a function needs no cache of its own."""

    def compiled(function: Callable[..., Any]) -> Any:
        dispatcher = numba.njit(cache=True, nogil=True, **options)(function)
        if not numba.config.DISABLE_JIT:
            # There is no public way to say what else the code was made of.
            dispatcher._cache._cache_file._source_stamp = sources_of(function.__module__.partition(".")[0])
        return dispatcher

    return compiled


@cache
def sources_of(package: str) -> int:
    """A checksum of all Python files of an installed package."""
    spec = find_spec(package)
    folders = (spec.submodule_search_locations or ()) if spec else ()
    return zlib.crc32(b"".join(path.read_bytes() for folder in folders for path in sorted(Path(folder).rglob("*.py"))))
