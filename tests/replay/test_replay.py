"""Executions that began under an older interpreter go on as they would have: same commands, same values."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory

from tests.replay.cases import CASES
from tests.replay.recording import FOLDER, billed, read, replay
from tests.user_workflows.reference.verdict import nodes_of
from user_workflows.definition.control_nodes import CONTROL_NODES
from user_workflows.interpreter.messages import HISTORY_LIMIT

RECORDINGS = sorted(FOLDER.glob("*.json"))


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
async def test_a_recorded_history_replays_to_the_same_values(path: Path) -> None:
    recording = read(path)
    assert await replay(recording.workflow_id, recording.history) == recording.final


def test_the_figures_are_what_temporal_wrote_and_would_bill() -> None:
    """Of executions that had one run: what they report is counted anew from their histories."""
    compared = 0
    for case in CASES:
        recording = read(FOLDER / f"{case.name}.json")
        history = WorkflowHistory.from_json(recording.workflow_id, recording.history)
        is_whole = case.history_limit == HISTORY_LIMIT and case.park_at is None and not case.is_retried
        if is_whole and "billable_actions" in recording.final:
            assert recording.final["billable_actions"] == billed([history]), case.name
            # What is cancelled in the last workflow task leaves an event there that is not foreseen.
            assert 0 <= len(history.events) - recording.final["history_events"] <= 2, case.name
            compared += 1
    assert compared > 35


def test_every_case_is_recorded() -> None:
    missing = {case.name for case in CASES} - {path.stem for path in RECORDINGS}
    assert not missing, f"run `make record` for {', '.join(sorted(missing))}"


def test_every_kind_of_control_node_is_recorded() -> None:
    kinds = {node["pluginId"] for case in CASES for node in nodes_of(case.definition)}
    assert CONTROL_NODES.keys() <= kinds


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
