"""The figures of a run are all there, and say the worst."""

import subprocess
import sys
from pathlib import Path

from tests.figures import summed


def test_counts_add_up_and_of_measurements_the_largest_is_told() -> None:
    told = summed(
        [
            ("T20", {"expressions": 1, "seconds": 0.25}),
            ("T23", {"let_in": 0}),
            ("T20", {"expressions": 2, "seconds": 0.125}),
            ("T23", {"requests": 1_200}),
        ]
    )
    assert told == ["T20: expressions 3, seconds 0.25", "T23: let in 0, requests 1,200"]


def test_what_processes_measured_is_told_at_the_end_of_a_run(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("def test_it(figures):\n    figures('T1', lost=0)\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-q", "-n", "1", "-p", "tests.figures", "--rootdir", str(tmp_path)]
    ran = subprocess.run(
        [*command, str(tmp_path)], cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True
    )
    assert "\nT1: lost 0\n" in ran.stdout
