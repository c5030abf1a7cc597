"""Executions that began under an older interpreter go on as they would have: same commands, same values."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.replay.cases import CASES
from tests.replay.recording import FOLDER, read, replay

RECORDINGS = sorted(FOLDER.glob("*.json"))


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
async def test_a_recorded_history_replays_to_the_same_values(path: Path) -> None:
    recording = read(path)
    assert await replay(recording.workflow_id, recording.history) == recording.final


def test_every_case_is_recorded() -> None:
    missing = {case.name for case in CASES} - {path.stem for path in RECORDINGS}
    assert not missing, f"run `make record` for {', '.join(sorted(missing))}"


@pytest.mark.parametrize("seed", ["0", "1", "31337"])
def test_the_seed_of_hashing_changes_nothing(seed: str) -> None:
    """Replays every recording in a process of its own under another ``PYTHONHASHSEED``."""
    script = (
        "import asyncio\n"
        "from tests.replay.recording import FOLDER, read, replay\n"
        "recordings = [read(path) for path in sorted(FOLDER.glob('*.json'))]\n"
        "async def main():\n"
        "    for r in recordings:\n"
        "        assert await replay(r.workflow_id, r.history) == r.final, r.workflow_id\n"
        "asyncio.run(main())\n"
        "print(len(recordings))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONHASHSEED": seed},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(RECORDINGS)
