"""A person decides by the mail that a whole installation sends, through its real SMTP server."""

import json
import re
from typing import Any

import httpx
from click.testing import CliRunner

from gateway.cli import main
from tests.e2e.installation import Installation, wait_for
from tests.user_workflows.drawing import edges, node


def test_an_approver_decides_by_the_link_in_the_mail(installation: Installation) -> None:
    ask = node("ask", "approval", title="Pay {{ input.n }} €?", message="It is due.", approvers=["boss@example.com"])
    paid = node("paid", values={"by": "{{ nodes.ask.approved.decisions[0].approver }}"})
    workflow = installation.publish({"nodes": [ask, paid], "edges": edges("ask.approved>paid")})
    execution = installation.start(workflow, {"n": 7})

    def mail() -> dict[str, Any] | None:
        sent = (each for each in installation.mails() if "Pay 7" in each["subject"])
        return next(sent, None)

    received = wait_for(mail, "the mail")
    assert "boss@example.com" in str(received["to"])
    (url,) = re.findall(r"http\S+/v1/approvals/\S+", received["text"])
    listed = approvals(installation, execution, "--json")
    ((only,),) = [[*asked["links"]] for asked in json.loads(listed)]
    assert (only["url"], only["approver"], only["decision"]) == (url, "boss@example.com", None)
    table = approvals(installation, execution)
    assert "Pay 7 €?" in table
    assert "boss@example.com" in table
    # Whoever holds the link needs nothing else.
    asked = httpx.get(url, trust_env=False)
    assert (asked.status_code, asked.json()["title"]) == (200, "Pay 7 €?")
    decided = httpx.post(url, json={"decision": "approved"}, trust_env=False)
    assert decided.status_code == 200, decided.text
    assert installation.finish(execution)["output"] == {"paid": {"by": "boss@example.com"}}
    assert approvals(installation, execution).strip() == "This execution waits for no approval."


def approvals(installation: Installation, execution: str, *options: str) -> str:
    terminal = CliRunner(env={"GATEWAY_URL": installation.dev.url, "GATEWAY_API_KEY": installation.dev.api_key})
    answer = terminal.invoke(main, ["approvals", "list", execution, *options])
    assert answer.exit_code == 0, answer.output
    return answer.output
