"""Jobs with their options, dead letters and limits from a terminal, at a real API."""

import json
import sqlite3

from tests.gateway.cli.conftest import Gateway
from tests.gateway.cli.test_chores import said

PAYLOAD = json.dumps({"type": "stock.price", "payload": {"symbol": "AAPL"}})


def test_a_job_takes_every_option_from_the_command_line(gateway: Gateway) -> None:
    options = ("--delay", "1h", "--ttl", "1d", "--timeout", "5s", "--max-attempts", "7", "--tag", "a", "--tag", "b")
    made = said(gateway, "job", "enqueue", "job.enqueue", "-p", PAYLOAD, *options, "--on-exhausted", "promote")
    assert (made["status"], made["maxAttempts"], made["tags"]) == ("scheduled", 7, ["a", "b"])
    assert (made["onExhausted"], made["lane"], made["promotedTo"]) == ("promote", None, None)
    assert made["expiresAt"] is not None
    assert [job["id"] for job in said(gateway, "job", "list", "--tag", "b", "--status", "scheduled")] == [made["id"]]
    (entry,) = said(gateway, "job", "timeline", made["id"])
    assert entry["event"] == "enqueued"
    assert "enqueued" in gateway("job", "timeline", made["id"]).output
    assert said(gateway, "job", "cancel", made["id"])["status"] == "canceled"


def test_of_two_jobs_with_one_singleton_key_one_is_made(gateway: Gateway) -> None:
    options = ("-p", PAYLOAD, "--singleton-key", "nightly", "--delay", "1h", "--lane", "temporal")
    first, second = (said(gateway, "job", "enqueue", "job.enqueue", *options) for _ in range(2))
    newest = said(gateway, "job", "enqueue", "job.enqueue", *options, "--singleton-wins", "newest")
    assert (first["id"], first["lane"]) == (second["id"], "temporal")
    assert newest["id"] != first["id"]
    assert said(gateway, "job", "show", first["id"])["status"] == "canceled"
    retry = json.dumps({"maxAttempts": 9, "maxInterval": "1h"})
    backing_off = said(gateway, "job", "enqueue", "job.enqueue", "-p", PAYLOAD, "--delay", "1h", "--retry", retry)
    assert backing_off["retry"]["maxAttempts"] == 9


def test_options_that_contradict_each_other_are_named(gateway: Gateway) -> None:
    refused = gateway("job", "enqueue", "job.enqueue", "-p", PAYLOAD, "--debounce", "5s")
    assert (refused.exit_code, "/debounce" in refused.output) == (4, True)
    unbound = gateway("job", "enqueue", "job.enqueue", "-p", PAYLOAD, "-c", "nothing")
    assert (unbound.exit_code, "auth=cred_" in unbound.output) == (2, True)


def test_dead_letters_are_listed_and_replayed_at_a_rate(gateway: Gateway) -> None:
    assert said(gateway, "dead-letter", "list", "--type", "job.enqueue", "--error", "http") == []
    assert "no such dead letters" in gateway("dead-letter", "list").output
    assert gateway("dead-letter", "replay").exit_code == 2
    replay = said(gateway, "dead-letter", "replay", "--type", "email.send", "--rate", "2.5", "--max-error-rate", "0.1")
    assert (replay["ratePerSecond"], replay["maxErrorRate"], replay["filter"]["type"]) == (2.5, 0.1, "email.send")
    assert replay["id"] in [item["id"] for item in said(gateway, "dead-letter", "replays")]
    assert said(gateway, "dead-letter", "replay-stop", replay["id"])["status"] == "stopped"
    assert "2.5 a second" in gateway("dead-letter", "replay-status", replay["id"]).output
    assert said(gateway, "dead-letter", "replay", "--all")["filter"]["type"] is None
    assert gateway("dead-letter", "show", "job_none").exit_code == 3


def test_a_dead_letter_is_edited_and_nothing_else(gateway: Gateway, installation: dict[str, str]) -> None:
    made = said(gateway, "job", "enqueue", "job.enqueue", "-p", PAYLOAD, "--delay", "1h")
    assert "scheduled" in gateway("dead-letter", "show", made["id"]).output
    refused = gateway("dead-letter", "edit", made["id"], "-p", PAYLOAD)
    assert (refused.exit_code, "not dead" in refused.output) == (4, True)
    # No worker runs here that could bring it that far.
    with sqlite3.connect(installation["GATEWAY_DATABASE_URL"].removeprefix("sqlite:///")) as connection:
        connection.execute("UPDATE jobs SET status = 'dead' WHERE id = ?", (made["id"],))
    assert made["id"] in gateway("dead-letter", "list").output
    mended = json.dumps({"type": "stock.price", "payload": {"symbol": "MSFT"}})
    assert said(gateway, "dead-letter", "edit", made["id"], "-p", mended)["payload"]["payload"] == {"symbol": "MSFT"}
    replay = said(gateway, "dead-letter", "replay", made["id"], "--rate", "1")
    assert replay["filter"]["ids"] == [made["id"]]


def test_an_owner_limits_types_and_hosts_and_the_administrator_everybody(gateway: Gateway) -> None:
    limited = said(gateway, "job-limits", "set", "host", "api.example.com", "--max-concurrent", "3", "--rate", "100/1m")
    assert limited["rate"] == {"count": 100, "per": "1m"}
    assert "host api.example.com" in gateway("job-limits", "list").output
    assert gateway("job-limits", "remove", "host", "api.example.com").exit_code == 0
    assert said(gateway, "job-limits", "list") == []
    assert gateway("job-limits", "remove", "host", "api.example.com").exit_code == 3
    assert gateway("job-limits", "set", "host", "a.example.com", "--rate", "many").exit_code == 2
    for_all = said(gateway, "job-limits", "set", "type", "http.request", "--max-concurrent", "50", "--admin")
    assert for_all in said(gateway, "job-limits", "list", "--admin")
    assert gateway("job-limits", "remove", "type", "http.request", "--admin").exit_code == 0
