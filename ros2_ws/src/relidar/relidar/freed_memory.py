"""Memory that is freed goes back to the system, so that a process that runs for days stays as large as it was.

glibc keeps what was freed in a pool of each thread, and keeps the more the larger the blocks it has met: a node that met a cloud
of 300,000 points and was configured forty times held 168 MB where it needs 110.
"""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # of glibc's malloc.h
_LARGE_BYTES = 128 * 1024


def give_back_freed_memory() -> bool:
    """Sets glibc's allocator for this process, before its threads start; returns False where there is no glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((_M_ARENA_MAX, 1), (_M_TRIM_THRESHOLD, _LARGE_BYTES), (_M_MMAP_THRESHOLD, _LARGE_BYTES))
    return all(mallopt(name, value) == 1 for name, value in settings)
