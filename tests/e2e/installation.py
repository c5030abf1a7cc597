"""A whole installation started by `gateway up`, and what a client does with it over HTTP."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil

from gateway.up.folder import DevFile
from tests.e2e.ledger import Ledger
from tests.running_up import RunningUp, running_up

T = TypeVar("T")

CLOSED = {"completed", "failed", "canceled", "terminated", "timedOut"}
SETTLED = {"completed", "dead", "canceled", "expired"}


class Installation:
    """A running `gateway up`, as its users see it."""

    def __init__(self, up: RunningUp, dev: DevFile, ledger: Ledger) -> None:
        self.up = up
        self.dev = dev
        self.ledger = ledger
        self.client = httpx.Client(
            base_url=dev.url, headers={"Authorization": f"Bearer {dev.api_key}"}, trust_env=False, timeout=30
        )

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Send one request, expect it to be accepted, and return its answer."""
        answer = self.client.request(method, path, json=body, headers=headers)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def publish(self, definition: dict[str, Any], name: str = "test") -> str:
        workflow = self.call("POST", "/v1/workflows", {"name": name, "definition": definition})
        self.call("POST", f"/v1/workflows/{workflow['id']}/versions")
        return str(workflow["id"])

    def start(self, workflow: str, input: Any = None, **headers: str) -> str:
        return str(self.call("POST", f"/v1/workflows/{workflow}/executions", {"input": input}, **headers)["id"])

    def finish(self, execution: str, timeout: float = 60) -> dict[str, Any]:
        """Wait until an execution is closed, through any outage of the API."""
        return self._when(lambda: self.call("GET", f"/v1/executions/{execution}"), CLOSED, timeout)

    def settle(self, job: str, timeout: float = 60) -> dict[str, Any]:
        """Wait until a job is settled, through any outage of the API."""
        return self._when(lambda: self.call("GET", f"/v1/jobs/{job}"), SETTLED, timeout)

    def mails(self) -> list[dict[str, Any]]:
        return list(httpx.get(self.dev.mail_url, trust_env=False).json())

    def process(self, name: str) -> psutil.Process:
        """The supervised process of that name; waits until it runs."""
        return wait_for(lambda: self.up.children().get(name), f"process {name}")

    def _when(self, read: Callable[[], dict[str, Any]], statuses: set[str], timeout: float) -> dict[str, Any]:
        def closed() -> dict[str, Any] | None:
            try:
                found = read()
            except (httpx.TransportError, AssertionError):
                return None
            return found if found["status"] in statuses else None

        return wait_for(closed, f"one of {sorted(statuses)}", timeout)


def wait_for(condition: Callable[[], T | None], what: str, timeout: float = 60) -> T:
    """Return what `condition` gives once it gives something."""
    deadline = time.monotonic() + timeout
    while (found := condition()) is None:
        assert time.monotonic() < deadline, f"{what} did not come within {timeout:g} s"
        time.sleep(0.02)
    return found


@contextmanager
def open_installation(folder: Path, ledger: Ledger, plugins: Path, *reaching: str) -> Iterator[Installation]:
    """Start an installation that also finds the packages in `plugins` and may reach the ledger, and `reaching`."""
    allowed = ",".join((f"127.0.0.1:{ledger.port}", *reaching))
    environment = {"PYTHONPATH": str(plugins), "GATEWAY_EGRESS_ALLOW": allowed}
    with running_up(folder / "data", environment=environment) as up:
        installation = Installation(up, up.ready(), ledger)
        yield installation
        installation.client.close()
