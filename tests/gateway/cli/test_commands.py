import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from tests.gateway.cli.conftest import Gateway

GROUPS = (
    "workflow",
    "execution",
    "approvals",
    "job",
    "schedule",
    "endpoint",
    "delivery",
    "inbound",
    "plugin",
    "credential",
    "tenant",
    "key",
)
NOWHERE = {"GATEWAY_URL": "http://127.0.0.1:1", "GATEWAY_API_KEY": "gw_a_b"}


def _commands(group: str) -> Iterable[str]:
    made = main.get_command(click.Context(main), group)
    assert isinstance(made, click.Group)
    return made.commands


def invoke(*arguments: str, env: Mapping[str, str | None] | None = None) -> Result:
    blank: dict[str, str | None] = dict.fromkeys(("GATEWAY_URL", "GATEWAY_API_KEY", "GATEWAY_DATA_DIR"))
    return CliRunner(env={**blank, **(env or {})}).invoke(main, arguments)


def test_every_command_explains_itself() -> None:
    assert "exit codes" in invoke("--help").output.lower()
    for name in main.commands_at:
        answer = invoke(name, "--help")
        assert answer.exit_code == 0, answer.output
    for group in GROUPS:
        for name in _commands(group):
            answer = invoke(group, name, "--help")
            assert answer.exit_code == 0, answer.output


def test_the_version_is_that_of_the_distribution() -> None:
    said = subprocess.run(
        [sys.executable, "-P", "-m", "gateway", "--version"], check=True, capture_output=True, text=True
    )
    assert said.stdout.startswith("gateway, version ")


def test_a_wrong_command_line_ends_with_2() -> None:
    assert invoke("workflow", "aply").exit_code == 2
    assert invoke("workflow", "apply", "-f", "/nonexistent.json").exit_code == 2
    assert invoke("job", "enqueue", "email.send", "--payload", "{not json").exit_code == 2


def test_an_api_that_does_not_answer_ends_with_5_and_says_where_it_was_sought() -> None:
    answer = invoke("workflow", "list", env=NOWHERE)
    assert answer.exit_code == 5
    assert "http://127.0.0.1:1 does not answer" in answer.output


def test_without_any_api_the_way_to_one_is_shown(tmp_path: Path) -> None:
    answer = invoke("workflow", "list", "--data-dir", str(tmp_path))
    assert answer.exit_code == 5
    assert "gateway up" in answer.output
    assert "GATEWAY_URL" in answer.output


def test_a_url_without_a_key_is_refused_by_name() -> None:
    answer = invoke("workflow", "list", env={"GATEWAY_URL": "http://127.0.0.1:1"})
    assert answer.exit_code == 5
    assert "GATEWAY_API_KEY is not" in answer.output


def test_a_foreign_key_is_refused_with_4(gateway: Gateway) -> None:
    answer = gateway("job", "list", env={"GATEWAY_API_KEY": "gw_nobody_nothing"})
    assert answer.exit_code == 4
    assert "(401)" in answer.stderr


def test_an_absent_object_ends_with_3(gateway: Gateway) -> None:
    answer = gateway("job", "show", "job_00000000000000000000000000")
    assert answer.exit_code == 3
    assert gateway("approvals", "list", "ex_00000000000000000000000000").exit_code == 3
    assert answer.stdout == ""
    assert "(404)" in answer.stderr


def test_invalid_input_ends_with_4_and_names_each_pointer(gateway: Gateway) -> None:
    answer = gateway("job", "enqueue", "email.send", "--payload", '{"subject": 7, "colour": "red"}')
    assert answer.exit_code == 4
    for pointer in ("/payload/to", "/payload/subject", "/payload/colour"):
        assert pointer in answer.stderr


def test_plugins_are_listed_for_people_and_for_scripts(gateway: Gateway) -> None:
    assert "http.request" in gateway("plugin", "list").stdout
    listed = json.loads(gateway("plugin", "list", "--json").stdout)
    assert {"http.request", "email.send"} <= {plugin["id"] for plugin in listed}
    shown = gateway("plugin", "show", "email.send")
    assert '"subject"' in shown.stdout


def test_caps_of_a_workflow_are_changed_one_by_one_and_reset(gateway: Gateway, definition_file: Path) -> None:
    workflow = json.loads(gateway("workflow", "apply", "-f", str(definition_file), "--json").stdout)["id"]

    def limits(*changes: str) -> dict[str, Any]:
        answer = gateway("workflow", "limits", workflow, *changes, "--json")
        assert answer.exit_code == 0, answer.output
        found: dict[str, Any] = json.loads(answer.stdout)
        return {name: cap["limit"] for name, cap in found["caps"].items() if cap["limit"]} | {"policy": found["policy"]}

    assert limits() == {"policy": "queue"}
    limits("--concurrent-executions", "3", "--policy", "skip")
    assert limits("--starts-per-minute", "9") == {"concurrentExecutions": 3, "startsPerMinute": 9, "policy": "skip"}
    assert "override" in gateway("workflow", "limits", workflow).output
    assert limits("--reset", "--payload-bytes", "10") == {"payloadBytes": 10, "policy": "queue"}
    assert gateway("workflow", "limits", workflow, "--policy", "drop").exit_code == 2


def test_a_credential_is_stored_from_standard_input_and_never_shown(gateway: Gateway) -> None:
    made = gateway(
        "credential", "create", "--type", "bearer", "--name", "crm", "--data", "-", "--allow-host", "crm.example.com",
        "--json", stdin='{"token": "tell-nobody"}',
    )  # fmt: skip
    assert made.exit_code == 0
    listed = gateway("credential", "list")
    assert json.loads(made.stdout)["id"] in listed.stdout
    assert "crm.example.com" in listed.stdout
    assert "tell-nobody" not in made.stdout + listed.stdout


def test_a_job_can_be_enqueued_once_per_key_shown_and_canceled(gateway: Gateway) -> None:
    payload = json.dumps({"to": "a@example.com", "subject": "later", "text": "x"})
    command = ("job", "enqueue", "email.send", "-p", payload, "--delay", "1h", "--key", "once", "--json")
    first, second = gateway(*command), gateway(*command)
    id = json.loads(first.stdout)["id"]
    assert json.loads(second.stdout)["id"] == id
    assert "scheduled" in gateway("job", "show", id).stdout
    assert id in gateway("job", "list").stdout
    assert "canceled" in gateway("job", "cancel", id).stdout
    assert gateway("job", "watch", id).exit_code == 1
    assert gateway("job", "retry", id).exit_code == 0


def test_a_key_is_made_shown_once_and_revoked(gateway: Gateway) -> None:
    made = json.loads(gateway("key", "create", "--name", "reader", "--role", "viewer", "--json").stdout)
    reader = {"GATEWAY_API_KEY": made["key"]}
    assert gateway("job", "list", env=reader).exit_code == 0
    assert gateway("job", "enqueue", "email.send", env=reader).exit_code == 4
    listed = gateway("key", "list").stdout
    assert made["id"] in listed
    assert made["key"] not in listed
    rotated = json.loads(gateway("key", "rotate", made["id"], "--overlap", "1h", "--json").stdout)
    assert gateway("job", "list", env={"GATEWAY_API_KEY": rotated["key"]}).exit_code == 0
    assert gateway("key", "revoke", made["id"], "--yes").exit_code == 0
    assert gateway("job", "list", env=reader).exit_code == 4


def test_a_person_is_shown_where_to_authorize_a_credential(gateway: Gateway) -> None:
    client = {
        "grantType": "authorization_code",
        "tokenUrl": "https://id.example.com/token",
        "authorizationUrl": "https://id.example.com/authorize",
        "clientId": "gateway",
        "clientSecret": "hunter2",
    }
    create = ("credential", "create", "--type", "oauth2", "--name", "Mail", "--data", "-", "--json")
    made = json.loads(gateway(*create, stdin=json.dumps(client)).stdout)
    assert "needsAuthorization" in gateway("credential", "list").stdout
    begun = json.loads(gateway("credential", "authorize", made["id"], "--json").stdout)
    assert begun["url"].startswith("https://id.example.com/authorize?response_type=code")
    assert "clientSecret" in gateway("credential", "types").stdout


def test_the_doctor_finds_the_installation_well(gateway: Gateway, tmp_path: Path) -> None:
    answer = gateway("doctor", "--data-dir", str(tmp_path), "--json")
    findings = json.loads(answer.stdout)
    # There is no worker here.
    assert [finding["what"] for finding in findings if finding["verdict"] != "ok"] == ["workers"]
    assert {"settings", "database", "redis", "temporal", "master key", "egress", "disk", "clock"} <= {
        f["what"] for f in findings
    }
    assert answer.exit_code == 0


def test_the_doctor_names_a_queue_that_nobody_serves_and_the_command_that_would(
    gateway: Gateway, tmp_path: Path
) -> None:
    tenant = json.loads(gateway("tenant", "create", "Golden", "--json").stdout)["id"]
    granted = json.loads(gateway("tenant", "tier", tenant, "--set", "premium", "--queue", "gold", "--json").stdout)
    assert granted == {"tier": "premium", "weight": None, "queue": "gold"}
    assert "gold" in gateway("tenant", "tier", tenant).stdout
    answer = gateway("doctor", "--data-dir", str(tmp_path))
    assert answer.exit_code == 1
    assert "the queue gold (tenants: 1): no worker asks for work" in answer.stdout
    assert "gateway worker user-workflows --queue gold" in answer.stdout
    assert gateway("tenant", "tier", tenant, "--queue", "gold").exit_code == 2
    assert gateway("tenant", "tier", tenant, "--set", "standard").exit_code == 0
    assert gateway("doctor", "--data-dir", str(tmp_path)).exit_code == 0


def test_the_doctor_names_what_is_wrong_and_the_way_out_without_any_password(gateway: Gateway, tmp_path: Path) -> None:
    broken = {
        "GATEWAY_DATABASE_URL": f"sqlite:///{tmp_path}/empty.db",
        "GATEWAY_REDIS_URL": "redis://:hunter2@127.0.0.1:1/0",
        "GATEWAY_MASTER_KEY_FILE": f"{tmp_path}/absent.key",
        "TEMPORAL_ADDRESS": "127.0.0.1:1",
    }
    answer = gateway("doctor", "--data-dir", str(tmp_path), env=broken)
    assert answer.exit_code == 1
    assert "gateway migrate" in answer.stdout
    assert "Check GATEWAY_REDIS_URL" in answer.stdout
    assert "Check TEMPORAL_ADDRESS" in answer.stdout
    assert "absent.key" in answer.stdout
    assert "hunter2" not in answer.stdout


def test_the_doctor_shows_what_may_be_reached_and_warns_of_the_metadata_service(
    gateway: Gateway, tmp_path: Path
) -> None:
    def egress(**env: str) -> dict[str, str]:
        findings = json.loads(gateway("doctor", "--data-dir", str(tmp_path), "--json", env=env).stdout)
        (found,) = (finding for finding in findings if finding["what"] == "egress")
        return dict(found)

    wide = egress(GATEWAY_EGRESS_ALLOW="169.254.0.0/16", GATEWAY_EGRESS_DENY=".corp.example")
    assert (wide["verdict"], "never .corp.example" in wide["detail"]) == ("warning", True)
    assert "GATEWAY_EGRESS_DENY" in wide["remedy"]
    assert egress(GATEWAY_EGRESS_ALLOW="169.254.0.0/16", GATEWAY_EGRESS_DENY="169.254.169.254")["verdict"] == "ok"


def test_a_master_key_is_never_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "master.key"
    assert invoke("master-key", str(file)).exit_code == 0
    before = file.read_bytes()
    assert invoke("master-key", str(file)).exit_code == 1
    assert file.read_bytes() == before


@pytest.mark.parametrize("command", ["serve", "migrate"])
def test_a_process_without_settings_names_every_one_that_is_missing(command: str) -> None:
    blank = dict.fromkeys(("GATEWAY_DATABASE_URL", "GATEWAY_REDIS_URL", "GATEWAY_MASTER_KEY_FILE"))
    answer = invoke(command, env=blank)
    assert answer.exit_code == 1
    for name in blank:
        assert f"{name} is not set" in answer.output
