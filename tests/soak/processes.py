"""The processes of the soak: the node as users start it, and the publisher that comes and goes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from relidar import pointcloud2

TARGET = "/segment_node"
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  # where Fast DDS puts its segments on Linux
PROFILE = Path(pointcloud2.__file__).with_name("fast_dds_large_clouds.xml")


def set_environment() -> None:
    """This machine only, and shared memory for large clouds, unless the environment already says otherwise."""
    own = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "ROS_DOMAIN_ID": str(1 + os.getpid() % 100)}
    own |= {"FASTDDS_DEFAULT_PROFILES_FILE": str(PROFILE), "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    for name, value in own.items():
        os.environ.setdefault(name, value)


def start_node(bundle: Path, log: Path) -> subprocess.Popen[bytes]:
    """segment_node by its command line, on the backend that it chooses; standard output and error go to `log`."""
    parameters = {"bundle": bundle, "threads": 1}
    words = [word for name, value in parameters.items() for word in ("-p", f"{name}:={value}")]
    with log.open("ab") as file:
        command = [sys.executable, "-m", "relidar.segment_node", "--ros-args", *words]
        return subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)


def resident_mib(pid: int) -> tuple[float, float] | None:
    """Resident memory of a process, its own and shared with other processes; None once it ended.

    Shared are the segments of Fast DDS: up to 33 MiB for each publisher of large clouds, as long as it lives or is thought to.
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    kib = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith("Rss")}
    return ((kib["RssAnon"] + kib["RssFile"]) / 1024, kib["RssShmem"] / 1024) if kib else None


class Publisher:
    """The publishing process; each start goes on with the number after the last."""

    def __init__(self, seed: int, rate_hz: float, journal: Path, log: Path) -> None:
        self._words = ["--seed", seed, "--rate", rate_hz, "--journal", journal, "--topic", f"{TARGET}/input/pointcloud"]
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._before: set[Path] = set()

    def start(self, first: int) -> None:
        """Starts the process with cloud number `first`."""
        self._before = set(SHARED_MEMORY.glob("fast*"))
        command = [sys.executable, "-m", "tests.soak.publisher", *self._words, "--first", first]
        with self._log.open("ab") as file:
            self._process = subprocess.Popen([str(word) for word in command], stdout=file, stderr=subprocess.STDOUT)

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended by itself."""
        return self._process is not None and self._process.poll() is None

    def end(self, number: signal.Signals) -> None:
        """Ends it by SIGTERM, or kills it; then its shared memory, which nobody else will ever free, is removed."""
        if self._process is None:
            return
        left = self._own_shared_memory()
        self._process.send_signal(number)
        self._process.wait(30)
        self._process = None
        for path in left if number == signal.SIGKILL else ():
            path.unlink(missing_ok=True)

    def _own_shared_memory(self) -> set[Path]:
        """Segments that it uses and that were not there before it."""
        assert self._process is not None
        try:
            maps = Path(f"/proc/{self._process.pid}/maps").read_text()
        except OSError:
            return set()
        used = {Path(line.split()[5]) for line in maps.splitlines() if str(SHARED_MEMORY) in line}
        return {path for path in used if path.name.startswith("fast")} - self._before


def stop(process: subprocess.Popen[bytes]) -> tuple[int, float]:
    """SIGTERM: exit code and the seconds until the end; kills what does not end within 20 s."""
    began_s = time.monotonic()
    process.terminate()
    try:
        code = process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait()
    return code, time.monotonic() - began_s
