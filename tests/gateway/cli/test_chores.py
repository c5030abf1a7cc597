"""Schedules and endpoints from a terminal, at a real API."""

import json
from typing import Any

from tests.gateway.cli.conftest import Gateway


def said(gateway: Gateway, *arguments: str) -> Any:
    answer = gateway(*arguments, "--json")
    assert answer.exit_code == 0, answer.output
    return json.loads(answer.stdout)


def test_a_schedule_is_made_listed_paused_run_and_resumed(gateway: Gateway) -> None:
    payload = json.dumps({"type": "job.enqueue", "payload": {"type": "job.enqueue"}})
    options = ("--name", "nightly", "--cron", "0 3 * * *", "--timezone", "Asia/Tokyo", "--overlap", "queue")
    made = said(gateway, "schedule", "create", "job.enqueue", *options, "--catch-up", "1h", "-p", payload)
    assert (made["timezone"], made["overlap"], made["catchUp"]) == ("Asia/Tokyo", "queue", "1h")
    assert made["id"] in [item["id"] for item in said(gateway, "schedule", "list")]
    assert "nightly" in gateway("schedule", "list").output
    assert said(gateway, "schedule", "pause", made["id"])["nextFireAt"] is None
    job_id = said(gateway, "schedule", "run", made["id"])["jobId"]
    assert said(gateway, "job", "show", job_id)["type"] == "job.enqueue"
    assert [firing["jobId"] for firing in said(gateway, "schedule", "firings", made["id"])] == [job_id]
    assert said(gateway, "schedule", "resume", made["id"])["nextFireAt"] is not None
    assert gateway("schedule", "delete", made["id"], "--yes").exit_code == 0
    assert gateway("schedule", "show", made["id"]).exit_code == 3


def test_an_endpoint_is_made_tested_rotated_and_disabled(gateway: Gateway) -> None:
    made = said(gateway, "endpoint", "create", "https://example.com/hook", "--event", "invoice.*")
    assert made["secret"].startswith("whsec_")
    assert said(gateway, "endpoint", "rotate", made["id"], "--overlap", "1h")["secret"] != made["secret"]
    (sent,) = said(gateway, "endpoint", "test", made["id"])["items"]
    assert said(gateway, "delivery", "show", sent["id"])["delivery"]["type"] == "endpoint.test"
    assert sent["id"] in [item["id"] for item in said(gateway, "delivery", "list", "--endpoint", made["id"])]
    assert gateway("delivery", "redeliver", sent["id"]).exit_code == 4
    assert said(gateway, "endpoint", "disable", made["id"])["enabled"] is False
    assert "disabled by its owner" in gateway("endpoint", "show", made["id"]).output
    assert said(gateway, "endpoint", "enable", made["id"])["enabled"] is True
    assert gateway("endpoint", "delete", made["id"], "--yes").exit_code == 0
