"""Three minutes of the soak that `make soak` runs for thirty."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.soak.answer_book import CHECKED_BY

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_three_minutes_of_everything_leave_no_violation(tmp_path: Path) -> None:
    pytest.importorskip("rclpy", reason="rclpy is not installed: extra `ros-wheels`, or a sourced ROS 2")
    out = tmp_path / "verdict.json"
    command = [sys.executable, "-m", "tests.soak", "--minutes", "3", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert out.exists(), done.stderr
    verdict = json.loads(out.read_text())
    assert (done.returncode, verdict["violations"], verdict["wrong"]) == (0, [], {}), verdict["examples_of_wrong_answers"]
    assert verdict["answers_checked"] > 100
    (backend,) = verdict["backends"]
    assert backend != CHECKED_BY  # else the node would be compared with itself
