"""Freed blocks below a living one, in processes of their own: kept by glibc's default, given back after the setting."""

import platform
import subprocess
import sys

import pytest

HELD_MIB = """
import ctypes, sys
from relidar.freed_memory import give_back_freed_memory
def resident_mib():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20
if sys.argv[1] == "set":
    assert give_back_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
def block(mib):
    address = libc.malloc(mib * 2**20)
    ctypes.memset(address, 1, mib * 2**20)
    return address
before = resident_mib()
libc.free(block(30))  # by default glibc takes it that blocks up to this size will be wanted again
blocks = [block(1) for _ in range(60)]
living = libc.malloc(200_000)  # too large for any gap below the blocks
for address in blocks:
    libc.free(address)
print(resident_mib() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has this setting")
def test_freed_memory_goes_back_to_the_system() -> None:
    held = {
        word: float(subprocess.run([sys.executable, "-c", HELD_MIB, word], capture_output=True, check=True, text=True).stdout)
        for word in ("default", "set")
    }
    assert held["default"] > 50  # else the test shows nothing
    assert held["set"] < 5
