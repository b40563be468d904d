"""Two processes that build the same engine do the work once, and one that is killed leaves nothing that is loaded."""

import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from relidar.bundle import ENGINES, Bundle, open_bundle
from relidar.engine_cache import engine_key, plan_fault

trt = pytest.importorskip("tensorrt_rtx", reason="the extra `rtx` is not installed")

BUILD = """
import sys, time
from pathlib import Path
from export.engine_build import build_engine
from relidar.bundle import open_bundle
bundle = open_bundle(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
print("built" if build_engine(bundle, "tensorrt-rtx", "sm86")[1] else "found", flush=True)
"""
HOLD = """
import sys, time
from pathlib import Path
from relidar.bundle import open_bundle
from relidar.engine_cache import building
bundle = open_bundle(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
with building(bundle):
    print("building", flush=True)
    time.sleep(300)
"""
DIE_WHILE_WRITING = """
import os, signal
from pathlib import Path
def write_half(path, data):
    with path.open("wb") as file:
        file.write(data[: len(data) // 2])
    os.kill(os.getpid(), signal.SIGKILL)
Path.write_bytes = write_half
"""


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Bundle:
    """A bundle of one's own, without engines."""
    shutil.copytree(tiny_bundle, tmp_path / "bundle")
    return open_bundle(tmp_path / "bundle")


def start(script: str, bundle: Bundle) -> subprocess.Popen[str]:
    """A process that has imported everything and waits for `go`."""
    command = [sys.executable, "-c", script, str(bundle.path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def wait_until_it_waits(process: subprocess.Popen[str]) -> None:
    """Until the kernel lists the process among those that wait for a lock."""
    deadline = time.monotonic() + 60
    while not re.search(rf"-> FLOCK .* {process.pid} ", Path("/proc/locks").read_text()):
        assert process.poll() is None, "it must wait for the other"
        assert time.monotonic() < deadline
        time.sleep(0.05)


def answer(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return output.strip()


def is_whole(bundle: Bundle) -> bool:
    fault = plan_fault(bundle, engine_key(bundle, "tensorrt-rtx", trt.__version__, "sm86"))
    return fault is None and sorted(path.suffix for path in (bundle.path / ENGINES).iterdir()) == [".json", ".plan"]


def test_two_at_once_do_the_work_once(bundle: Bundle) -> None:
    builders = [start(BUILD, bundle) for _ in range(2)]
    for builder in builders:
        go(builder)
    assert sorted(map(answer, builders)) == ["built", "found"]
    assert is_whole(bundle)


def test_one_that_is_killed_while_it_builds_holds_nobody_up(bundle: Bundle) -> None:
    holder, builder = start(HOLD, bundle), start(BUILD, bundle)
    try:
        go(holder)
        assert holder.stdout is not None
        assert holder.stdout.readline() == "building\n"
        go(builder)
        wait_until_it_waits(builder)
        assert not (bundle.path / ENGINES).exists()
    finally:
        holder.kill()
        holder.communicate()
    assert answer(builder) == "built"
    assert is_whole(bundle)


def test_half_a_plan_of_a_killed_builder_is_never_taken(bundle: Bundle) -> None:
    killed = start(DIE_WHILE_WRITING + BUILD, bundle)
    go(killed)
    killed.communicate(timeout=120)
    assert killed.returncode == -signal.SIGKILL
    left = list((bundle.path / ENGINES).iterdir())
    assert len(left) == 1, "half a plan under another name"
    assert not is_whole(bundle)
    builder = start(BUILD, bundle)
    go(builder)
    assert answer(builder) == "built"
    assert is_whole(bundle)
