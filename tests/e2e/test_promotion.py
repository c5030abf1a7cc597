"""kill -9 of whatever a promotion passes through: one execution for each job, and one idempotency key."""

from functools import partial

import pytest

from tests.e2e.installation import Installation, wait_for

JOBS = 12


@pytest.mark.parametrize(
    "victims",
    [("internal-jobs",), pytest.param(("internal-jobs", "user-workflows", "serve"), marks=pytest.mark.slow)],
    ids=["short", "long"],
)
def test_promotions_outlive_the_processes_that_they_pass_through(
    installation: Installation, victims: tuple[str, ...]
) -> None:
    """Twelve jobs fail on Dramatiq and once more on Temporal; processes in between die while some are on the way."""
    tag = f"promoted-past-{len(victims)}"
    ledger = installation.ledger
    items = [
        {
            "type": "greeting.send",
            "payload": {"name": f"{tag} {number}", "ledger": ledger.url, "failures": 1},
            "maxAttempts": 1,
            "onExhausted": "promote",
            "tags": [tag],
        }
        for number in range(JOBS)
    ]
    jobs = [item["id"] for item in installation.call("POST", "/v1/jobs/batch", {"items": items})["items"]]
    # Looked up before the first dies: its corpse is in the way of another look.
    for process in [installation.process(victim) for victim in victims]:
        # It dies as soon as the next attempt was made, of whichever job.
        wait_for(partial(_goes_on, installation, tag, len(attempts(installation, tag))), "an attempt")
        process.kill()
    settled = [installation.settle(job, timeout=120) for job in jobs]
    assert {job["status"] for job in settled} == {"completed"}, settled
    keys: dict[str, set[str]] = {}
    for entry in attempts(installation, tag):
        keys.setdefault(entry["name"], set()).add(entry["key"])
    assert [len(keys[f"{tag} {number}"]) for number in range(JOBS)] == [1] * JOBS
    executions = installation.call("GET", f"/v1/executions?tag={tag}&limit=100")["items"]
    assert sorted(execution["trigger"]["id"] for execution in executions) == sorted(jobs)
    assert {execution["id"] for execution in executions} == {job["promotedTo"] for job in settled}


def _goes_on(installation: Installation, tag: str, seen: int) -> bool | None:
    return len(attempts(installation, tag)) > seen or done(installation, tag) or None


def attempts(installation: Installation, tag: str) -> list[dict[str, str]]:
    return [entry for entry in installation.ledger.entries() if entry.get("name", "").startswith(f"{tag} ")]


def done(installation: Installation, tag: str) -> bool:
    """Whether every job has made all of its attempts."""
    return len(attempts(installation, tag)) >= 3 * JOBS
