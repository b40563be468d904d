"""What is compiled on disk is not taken for sources that it was not made from."""

import subprocess
import sys
from pathlib import Path

KERNEL = """
from relidar.cached_kernel import cached_kernel
from toy.inner import inner

@cached_kernel()
def outer(x):
    return inner(x) + 1
"""
INNER = """
import numba

@numba.njit(inline="always")
def inner(x):
    return {factor} * x
"""
ASK = (
    "from toy.outer import outer; print(outer(5), *(sum(c.values()) for c in (outer.stats.cache_hits, outer.stats.cache_misses)))"
)


def test_a_change_in_another_module_compiles_anew_and_none_does_not(tmp_path: Path) -> None:
    package = tmp_path / "toy"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "outer.py").write_text(KERNEL)

    def answer_hits_misses() -> list[int]:
        done = subprocess.run([sys.executable, "-c", ASK], cwd=tmp_path, capture_output=True, text=True, check=True)
        return [int(word) for word in done.stdout.split()]

    (package / "inner.py").write_text(INNER.format(factor=2))
    assert answer_hits_misses() == [11, 0, 1]
    assert answer_hits_misses() == [11, 1, 0]
    (package / "inner.py").write_text(INNER.format(factor=3))
    assert answer_hits_misses() == [16, 0, 1]


def test_only_the_named_sources_compile_anew_and_leave_nothing_behind(tmp_path: Path) -> None:
    package = tmp_path / "toy"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "outer.py").write_text(KERNEL.replace("cached_kernel()", 'cached_kernel(sources=("toy.inner", "toy.part"))'))
    (package / "inner.py").write_text(INNER.format(factor=2))
    (package / "part").mkdir()
    (package / "part/__init__.py").write_text("")

    def misses() -> int:
        done = subprocess.run([sys.executable, "-c", ASK], cwd=tmp_path, capture_output=True, text=True, check=True)
        return int(done.stdout.split()[2])

    assert misses() == 1
    (package / "other.py").write_text("")
    assert misses() == 0
    (package / "inner.py").write_text(INNER.format(factor=3))
    assert misses() == 1
    (package / "part/deep.py").write_text("more = 1")
    assert misses() == 1
    assert len(list(package.rglob("*.nbc"))) == 1
