"""The gateway's own processes as children: the same commands that production runs, one process each."""

import sys
from collections.abc import Mapping

import httpx

from gateway.local_url import local_url
from gateway.up.child import Child, Role
from gateway.up.ports import LOOPBACK, Ports


async def plan_processes(environment: Mapping[str, str], ports: Ports, *, host: str, port: int) -> tuple[Child, ...]:
    """Return the API and both workers, under the settings of `environment`."""
    url = local_url(host, port)
    binding = {"GATEWAY_HOST": host, "GATEWAY_PORT": str(port)}
    processes = [
        gateway_process(
            "serve",
            "api",
            environment={"GATEWAY_PUBLIC_URL": url, **environment, **binding},
            probe=f"{url}/health/ready",
        )
    ]
    for name in ("user-workflows", "internal-jobs"):
        metrics_port = await ports.of(f"{name}-metrics")
        figures = {"GATEWAY_HOST": LOOPBACK, "GATEWAY_METRICS_PORT": str(metrics_port)}
        processes.append(
            gateway_process(
                name,
                "worker",
                environment={"GATEWAY_PUBLIC_URL": url, "GATEWAY_API_URL": url, **environment, **figures},
                probe=f"http://{LOOPBACK}:{metrics_port}/metrics",
            )
        )
    return tuple(processes)


def gateway_process(name: str, role: Role, *options: str, environment: Mapping[str, str], probe: str) -> Child:
    """Make a child of the command, or the worker, called `name`; `probe` is a URL that answers 200 once it works."""
    command = ("worker", name) if role == "worker" else (name,)

    async def answers() -> bool:
        # A proxy of the environment has no business between us and our own child.
        async with httpx.AsyncClient(trust_env=False, timeout=3) as client:
            try:
                return (await client.get(probe)).status_code == httpx.codes.OK
            except httpx.HTTPError:
                return False

    return Child(
        name=name,
        role=role,
        # -P: a folder named like one of our packages in the current folder must not stand in for it.
        command=(sys.executable, "-P", "-m", "gateway", *command, *options),
        environment=dict(environment),
        answers=answers,
    )
