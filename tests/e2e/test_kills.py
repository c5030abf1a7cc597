"""kill -9 of each process in the middle of work: everything completes, and no mail is lost (scorecard T1, short)."""

from collections import Counter
from typing import Any

import pytest

from tests.e2e.installation import Installation, wait_for
from tests.user_workflows.drawing import edges

VICTIMS = ("user-workflows", "internal-jobs", "valkey", "temporal", "serve")
JOBS = 20
STEPS = 5


def mail(subject: str) -> dict[str, Any]:
    return {"to": "user@example.com", "subject": subject, "text": f"This is {subject}."}


@pytest.mark.parametrize("victim", VICTIMS)
def test_nothing_is_lost_when_a_process_is_killed(installation: Installation, victim: str) -> None:
    """Five steps and twenty jobs, each a mail; the victim dies when the first mails have arrived."""
    steps = [f"{victim} step {i}" for i in range(STEPS)]
    jobs = [f"{victim} job {i}" for i in range(JOBS)]
    nodes = [{"id": f"s{i}", "pluginId": "email.send", "config": mail(subject)} for i, subject in enumerate(steps)]
    chain = edges(*(f"s{i}>s{i + 1}" for i in range(STEPS - 1)))
    workflow = installation.publish({"nodes": nodes, "edges": chain}, name=victim)
    process = installation.process(victim)

    execution = installation.start(workflow)
    batch = {"items": [{"type": "email.send", "payload": mail(subject)} for subject in jobs]}
    accepted = [item["id"] for item in installation.call("POST", "/v1/jobs/batch", batch)["items"]]
    wait_for(lambda: arrived(installation, {*steps, *jobs}) or None, "the first mail")
    process.kill()
    seen = len(arrived(installation, {*steps, *jobs}))

    finished = installation.finish(execution, timeout=120)
    settled = [installation.settle(job, timeout=120) for job in accepted]

    assert finished["status"] == "completed", finished
    assert {job["status"] for job in settled} == {"completed"}, settled
    copies = arrived(installation, {*steps, *jobs})
    assert copies.keys() == {*steps, *jobs}
    twice = {subject: ids for subject, ids in copies.items() if len(ids) > 1}
    assert all(len(set(ids)) == 1 for ids in twice.values()), twice
    wait_for(lambda: installation.up.children().get(victim), f"{victim} to be started again")
    print(
        f"\nT1 short · killed {victim} after {seen} of {STEPS + JOBS} mails · lost 0 · arrived twice {len(twice)} "
        f"(same Message-ID) · attempts {dict(Counter(job['attempts'] for job in settled))}"
    )


def arrived(installation: Installation, subjects: set[str]) -> dict[str, list[str]]:
    """Subject → the Message-ID of each copy that arrived."""
    copies: dict[str, list[str]] = {}
    for message in installation.mails():
        if message["subject"] in subjects:
            copies.setdefault(message["subject"], []).append(message["messageId"])
    return copies
