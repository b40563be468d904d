"""numba functions that are compiled once a machine, and anew when a source that they are made of changes.

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


def cached_kernel(sources: tuple[str, ...] = (), **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Like `numba.njit(cache=True, nogil=True, ...)`; what is inlined into such a function needs no cache of its own.

    Args:
        sources: packages and modules whose change makes it compile anew, for what takes long to compile; none is the whole
            package of the function.
        options: of numba.njit.
    """

    def compiled(function: Callable[..., Any]) -> Any:
        dispatcher = numba.njit(cache=True, nogil=True, **options)(function)
        if not numba.config.DISABLE_JIT:
            # There is no public way to say what else the code was made of.
            made_of = sources or (function.__module__.partition(".")[0],)
            dispatcher._cache._cache_file._source_stamp = [checksum_of(name) for name in made_of]
        return dispatcher

    return compiled


@cache
def checksum_of(name: str) -> int:
    """Of the source of an installed module, or of all modules of a package."""
    spec = find_spec(name)
    if spec is None:
        return 0
    folders = spec.submodule_search_locations
    paths = [path for folder in folders for path in sorted(Path(folder).rglob("*.py"))] if folders else [Path(str(spec.origin))]
    return zlib.crc32(b"".join(path.read_bytes() for path in paths))
