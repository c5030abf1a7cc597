"""The commands about, and against, a running `gateway up`."""

import json
import os
import time
from pathlib import Path

import httpx
from click.testing import CliRunner, Result

from gateway.cli import main
from tests.running_up import NAMES, RunningUp


def call(up: RunningUp, *arguments: str, stdin: str | None = None) -> Result:
    up.ready()
    blank = {name: None for name in os.environ if name.startswith(("GATEWAY_", "TEMPORAL_"))}
    return CliRunner(env=blank).invoke(main, [*arguments, "--data-dir", str(up.folder.path)], input=stdin)


def write(folder: Path, definition: object) -> str:
    file = folder / "definition.json"
    file.write_text(json.dumps(definition))
    return str(file)


HELLO = {
    "name": "Hello",
    "nodes": [{"id": "hello", "pluginId": "set", "config": {"values": {"text": "hello {{ input.name }}"}}}],
}
WAITING = {"name": "Waiting", "nodes": [{"id": "nap", "pluginId": "wait", "config": {"duration": "1h"}}]}
BROKEN = {"name": "Broken", "nodes": [{"id": "x", "pluginId": "no.such"}], "edges": [{"source": "x", "target": "y"}]}


def test_status_shows_every_process(gateway_up: RunningUp) -> None:
    people = call(gateway_up, "status")
    assert gateway_up.ready().url in people.stdout
    assert all(name in people.stdout for name in NAMES)
    scripts = json.loads(call(gateway_up, "status", "--json").stdout)
    assert scripts["running"] is True
    assert scripts["pid"] == gateway_up.process.pid
    assert {child["name"] for child in scripts["children"]} == NAMES


def test_status_of_nothing_ends_with_1_and_names_the_way_in(tmp_path: Path) -> None:
    answer = CliRunner().invoke(main, ["status", "--data-dir", str(tmp_path)])
    assert answer.exit_code == 1
    assert "down" in answer.stdout
    assert f"up --data-dir {tmp_path}" in answer.stdout


def test_down_of_nothing_says_so(tmp_path: Path) -> None:
    answer = CliRunner().invoke(main, ["down", "--data-dir", str(tmp_path)])
    assert answer.exit_code == 0
    assert "Nothing runs" in answer.stdout


def test_logs_of_one_process_or_of_all_are_shown_and_an_unknown_name_lists_those_that_are(
    gateway_up: RunningUp,
) -> None:
    one = call(gateway_up, "logs", "internal-jobs", "-n", "1000")
    assert "jobs.worker_started" in one.stdout
    every = call(gateway_up, "logs", "-n", "3")
    assert "internal-jobs  " in every.stdout
    assert "serve          " in every.stdout
    unknown = call(gateway_up, "logs", "vallkey")
    assert unknown.exit_code == 3
    assert "valkey" in unknown.stderr


def test_the_doctor_finds_a_running_up_well(gateway_up: RunningUp) -> None:
    # Temporal hears of workers by what they ask it, which they may just have begun to do.
    deadline = time.monotonic() + 20
    while bad := [each for each in json.loads(call(gateway_up, "doctor", "--json").stdout) if each["verdict"] != "ok"]:
        assert time.monotonic() < deadline, bad


def test_a_workflow_applied_twice_is_one_version_and_can_be_started_and_watched(
    gateway_up: RunningUp, tmp_path: Path
) -> None:
    file = write(tmp_path, HELLO)
    first = json.loads(call(gateway_up, "workflow", "apply", "-f", file, "--publish", "--json").stdout)
    second = json.loads(call(gateway_up, "workflow", "apply", "-f", file, "--publish", "--json").stdout)
    assert (second["id"], second["publishedVersion"]) == (first["id"], first["publishedVersion"])
    changed = write(tmp_path, HELLO | {"variables": {"changed": True}})
    third = json.loads(call(gateway_up, "workflow", "apply", "-f", changed, "--publish", "--json").stdout)
    assert (third["id"], third["publishedVersion"]) == (first["id"], first["publishedVersion"] + 1)
    assert "Hello" in call(gateway_up, "workflow", "list").stdout
    watched = call(gateway_up, "execution", "start", "Hello", "--input", '{"name": "you"}', "--watch", "--json")
    assert watched.exit_code == 0, watched.output
    closed = json.loads(watched.stdout)
    assert closed["status"] == "completed"
    assert closed["output"] == {"hello": {"text": "hello you"}}
    shown = call(gateway_up, "execution", "show", closed["id"])
    assert "hello you" in shown.stdout
    assert f"{closed['historyEvents']} (predicted {closed['historyEvents']})" in shown.stdout
    explained = call(gateway_up, "execution", "why", closed["id"], "hello")
    assert "left by port `output`" in explained.stdout
    assert call(gateway_up, "execution", "why", closed["id"], "absent").exit_code == 3
    listed = call(gateway_up, "execution", "list", "--workflow", "Hello", "--status", "completed")
    assert closed["id"] in listed.stdout


def test_a_dry_run_is_shown_step_by_step_and_starts_nothing(gateway_up: RunningUp, tmp_path: Path) -> None:
    drawn = {
        "name": "Rehearsed",
        "nodes": [
            {"id": "fetch", "pluginId": "http.request", "config": {"url": "https://example.com", "method": "POST"}},
            {"id": "big", "pluginId": "if", "config": {"condition": "{{ trigger.n > 5 }}"}},
            {"id": "loud", "pluginId": "set", "config": {"values": {"status": "{{ nodes.fetch.output.status }}"}}},
        ],
        "edges": [{"source": "fetch", "target": "big"}, {"source": "big", "sourceHandle": "true", "target": "loud"}],
    }
    call(gateway_up, "workflow", "apply", "-f", write(tmp_path, drawn))
    shown = call(gateway_up, "workflow", "dry-run", "Rehearsed", "--draft", "-i", '{"n": 9}')
    assert shown.exit_code == 0, shown.output
    assert "made from its schema" in shown.stdout
    assert "would be  completed" in shown.stdout
    told = json.loads(
        call(gateway_up, "workflow", "dry-run", "Rehearsed", "--draft", "-i", '{"n": 1}', "--json").stdout
    )
    assert [step["status"] for step in told["steps"]] == ["completed", "completed", "skipped"]
    failing = call(gateway_up, "workflow", "dry-run", "Rehearsed", "--draft", "-i", "{}")
    assert failing.exit_code == 1
    assert "there is no field 'n'" in failing.stdout
    assert call(gateway_up, "workflow", "dry-run", "Rehearsed").exit_code != 0
    assert call(gateway_up, "workflow", "dry-run", "Rehearsed", "--draft", "--version", "1").exit_code == 2
    assert json.loads(call(gateway_up, "execution", "list", "--workflow", "Rehearsed", "--json").stdout) == []


def test_a_canceled_execution_is_watched_to_its_end_and_ends_with_1(gateway_up: RunningUp, tmp_path: Path) -> None:
    call(gateway_up, "workflow", "apply", "-f", write(tmp_path, WAITING), "--publish")
    started = json.loads(call(gateway_up, "execution", "start", "Waiting", "--json").stdout)
    assert call(gateway_up, "execution", "cancel", started["id"]).exit_code == 0
    watched = call(gateway_up, "execution", "watch", started["id"])
    assert watched.exit_code == 1
    assert "canceled" in watched.stdout


def test_a_broken_definition_is_kept_as_draft_shown_with_its_faults_and_not_published(
    gateway_up: RunningUp, tmp_path: Path
) -> None:
    file = write(tmp_path, BROKEN)
    checked = call(gateway_up, "workflow", "validate", "-f", file)
    assert checked.exit_code == 4
    kept = call(gateway_up, "workflow", "apply", "-f", file)
    assert kept.exit_code == 0
    refused = call(gateway_up, "workflow", "publish", "Broken")
    assert refused.exit_code == 4
    for pointer in ("/nodes/0/pluginId", "/edges/0/target"):
        assert pointer in checked.stdout
        assert pointer in kept.stdout
        assert pointer in refused.stderr


def test_a_definition_can_come_from_standard_input(gateway_up: RunningUp) -> None:
    answer = call(gateway_up, "workflow", "apply", "-f", "-", "--name", "From stdin", stdin=json.dumps(HELLO))
    assert answer.exit_code == 0
    assert "From stdin" in answer.stdout


def test_a_job_is_enqueued_and_watched_to_its_end(gateway_up: RunningUp) -> None:
    payload = json.dumps({"to": "someone@example.com", "subject": "from a terminal", "text": "x"})
    watched = call(gateway_up, "job", "enqueue", "email.send", "--payload", payload, "--watch")
    assert watched.exit_code == 0, watched.output
    assert "completed" in watched.stdout


def test_the_demo_can_be_shown_again_without_a_new_version(gateway_up: RunningUp) -> None:
    answer = call(gateway_up, "demo")
    assert answer.exit_code == 0, answer.output
    assert "version 1)" in answer.stdout
    assert "Receipt: alerts@example.com was told about AAPL" in answer.stdout


def test_a_tenant_is_shredded_and_its_key_is_unknown(gateway_up: RunningUp) -> None:
    """By the jobs worker that `up` runs."""
    tenant = json.loads(call(gateway_up, "tenant", "create", "Gone", "--json").stdout)["id"]
    made = call(gateway_up, "key", "create-for", tenant, "--name", "test", "--json").stdout
    theirs = {"Authorization": f"Bearer {json.loads(made)['key']}"}
    with httpx.Client(base_url=gateway_up.ready().url, headers=theirs) as api:
        workflow = api.post("/v1/workflows", json={"name": "Waiting", "definition": WAITING}).json()["id"]
        api.post(f"/v1/workflows/{workflow}/versions")
        assert api.post(f"/v1/workflows/{workflow}/executions", json={}).status_code == 202
        shredded = call(gateway_up, "tenant", "shred", tenant, "--yes", "--json")
        assert shredded.exit_code == 0, shredded.output
        assert json.loads(shredded.stdout)["shreddedAt"]
        assert api.get("/v1/me").status_code == 401
    assert call(gateway_up, "tenant", "rotate-key", tenant).exit_code == 3
