"""Schedules, endpoints, mails and what came in from a terminal, at a real API."""

import json
from pathlib import Path
from typing import Any

import httpx

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


def test_what_came_in_is_listed_shown_and_delivered_again(
    gateway: Gateway, installation: dict[str, str], tmp_path: Path
) -> None:
    listening = {
        "triggers": [{"id": "paid", "type": "event", "config": {"eventType": "order.paid"}}],
        "nodes": [{"id": "seen", "pluginId": "set", "config": {"values": {}}}],
    }
    file = tmp_path / "listening.json"
    file.write_text(json.dumps({"name": "Listening", **listening}))
    workflow = said(gateway, "workflow", "apply", "-f", str(file), "--publish", "--activate")["id"]
    event = {"specversion": "1.0", "type": "order.paid", "source": "/shop", "id": "5", "data": {"total": 5}}
    headers = {
        "Authorization": f"Bearer {installation['GATEWAY_API_KEY']}",
        "content-type": "application/cloudevents+json",
    }
    url = installation["GATEWAY_URL"]
    assert httpx.post(f"{url}/v1/events", headers=headers, json=event, trust_env=False).status_code == 202
    (kept,) = said(gateway, "inbound", "list", "--workflow", workflow, "--trigger", "paid")
    assert kept["deliveryId"] == "5"
    assert kept["id"] in gateway("inbound", "list").output
    assert json.loads(said(gateway, "inbound", "show", kept["id"])["body"]) == event
    for to in ("published", "1", "draft"):
        assert said(gateway, "inbound", "redeliver", kept["id"], "--to", to)["version"] == 1
    assert gateway("inbound", "redeliver", kept["id"], "--to", "newest").exit_code == 4
    assert gateway("inbound", "show", "in_none").exit_code == 3


def test_senders_and_templates_of_mails_are_settled_shown_and_deleted(gateway: Gateway, tmp_path: Path) -> None:
    tenant = said(gateway, "key", "list")[0]["tenantId"]
    assert "nothing but" in gateway("tenant", "senders", tenant).output
    granted = said(gateway, "tenant", "senders", tenant, "--allow", "*@acme.example", "--allow", "ceo@acme.example")
    assert granted["allowed"] == ["*@acme.example", "ceo@acme.example"]
    settled = said(gateway, "email", "sender", "--from", "Acme <news@acme.example>")
    assert (settled["from"], settled["allowed"]) == ("Acme <news@acme.example>", granted["allowed"])
    assert "news@acme.example" in gateway("email", "sender").output
    assert said(gateway, "tenant", "senders", tenant, "--none")["allowed"] == []
    file = tmp_path / "welcome.json"
    file.write_text(json.dumps({"subject": "Hello {{ name }}", "text": "Dear {{ name }}"}))
    assert said(gateway, "email", "template", "apply", "welcome", "-f", str(file))["name"] == "welcome"
    assert [each["name"] for each in said(gateway, "email", "template", "list")] == ["welcome"]
    assert "Dear {{ name }}" in gateway("email", "template", "show", "welcome").output
    filled = said(gateway, "email", "template", "render", "welcome", "--data", '{"name": "Ann"}')
    assert filled["text"] == "Dear Ann"
    assert gateway("email", "template", "render", "welcome").exit_code == 4
    assert gateway("email", "template", "delete", "welcome", "--yes").exit_code == 0
    assert gateway("email", "template", "show", "welcome").exit_code == 3
