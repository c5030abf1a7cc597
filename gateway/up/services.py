"""What `up` starts, and the settings under which the gateway's own processes find it.

A setting that is given in the environment wins: what it names is used, and our own server of that kind is not started.
"""

import os
import secrets
from collections.abc import Mapping

from msgspec import Struct
from temporalio.envconfig import ClientConfigProfile

from gateway.up.child import Child
from gateway.up.files import private_folder, write_private
from gateway.up.folder import DataFolder
from gateway.up.ports import LOOPBACK, Ports
from gateway.up.processes import gateway_process
from gateway.up.temporal import NAMESPACE, TemporalServer
from gateway.up.valkey import ValkeyServer

_OWN_TEMPORAL = ("TEMPORAL_ADDRESS", "TEMPORAL_PROFILE", "TEMPORAL_CONFIG_FILE")


class Sandbox(Struct, frozen=True, kw_only=True):
    """The development mail server and quotes, see `gateway.up.sandbox`."""

    smtp_port: int
    http_port: int

    @property
    def smtp_url(self) -> str:
        # What arrives here leaves the machine no more: anybody may send as anybody.
        return f"smtp://{LOOPBACK}:{self.smtp_port}?senders=any"

    @property
    def http_url(self) -> str:
        return f"http://{LOOPBACK}:{self.http_port}"

    @property
    def mail_url(self) -> str:
        return f"{self.http_url}/mail"


class Services(Struct, frozen=True, kw_only=True):
    """The servers of one `up`, and how everybody finds them."""

    servers: tuple[Child, ...]
    #: for every process of the gateway
    environment: dict[str, str]
    temporal_address: str
    temporal_ui: str
    mail_url: str


async def plan_services(folder: DataFolder, ports: Ports, environ: Mapping[str, str]) -> Services:
    """Decide what to start on which port.

    Raises:
        ServerMissing: a server has to be started and its program is not on this machine.
    """
    sandbox = Sandbox(smtp_port=await ports.of("smtp"), http_port=await ports.of("sandbox"))
    servers = [_sandbox(sandbox, folder)]
    settings = {
        "GATEWAY_DATABASE_URL": folder.database_url,
        "GATEWAY_MASTER_KEY_FILE": str(folder.path / "master.key"),
        "GATEWAY_KEY_PEPPER_FILE": str(folder.key_pepper_file),
        "GATEWAY_SMTP_URL": sandbox.smtp_url,
        "GATEWAY_QUOTES_URL": sandbox.http_url,
    }
    if not environ.get("GATEWAY_REDIS_URL"):
        valkey = ValkeyServer(folder=folder.path / "valkey", port=await ports.of("valkey"), password=_password(folder))
        settings["GATEWAY_REDIS_URL"] = valkey.url
        servers.append(_server("valkey", valkey))
    if any(environ.get(name) for name in _OWN_TEMPORAL):
        temporal_address = ClientConfigProfile.load(override_env_vars=environ).address or "localhost:7233"
        temporal_ui = ""
    else:
        temporal = await _plan_temporal(folder, ports)
        temporal_address, temporal_ui = temporal.address, temporal.ui_url
        # Nobody else's workers reach it.
        settings |= {**_reaching(temporal), "GATEWAY_SOLE_BUILD": "true"}
        servers.append(_server("temporal", temporal))
    settings |= {name: value for name, value in environ.items() if name.startswith("GATEWAY_") and value}
    return Services(
        servers=tuple(servers),
        environment=settings | {"GATEWAY_EGRESS_ALLOW": _allowed(sandbox, environ)},
        temporal_address=temporal_address,
        temporal_ui=temporal_ui,
        mail_url=sandbox.mail_url,
    )


async def _plan_temporal(folder: DataFolder, ports: Ports) -> TemporalServer:
    return TemporalServer(
        folder=folder.path / "temporal",
        port=await ports.of("temporal"),
        ui_port=await ports.of("temporal-ui"),
        http_port=await ports.of("temporal-http"),
        metrics_port=await ports.of("temporal-metrics"),
    )


def _reaching(temporal: TemporalServer) -> dict[str, str]:
    return {
        "TEMPORAL_ADDRESS": temporal.address,
        "TEMPORAL_NAMESPACE": NAMESPACE,
        # A profile in the user's own configuration file must not lend its TLS or API key to this address.
        "TEMPORAL_CONFIG_FILE": os.devnull,
    }


def _allowed(sandbox: Sandbox, environ: Mapping[str, str]) -> str:
    """What plugins may reach: what the environment says, and our own sandbox."""
    own = (f"{LOOPBACK}:{sandbox.smtp_port}", f"{LOOPBACK}:{sandbox.http_port}")
    return ",".join(part for part in (environ.get("GATEWAY_EGRESS_ALLOW"), *own) if part)


def _server(name: str, server: ValkeyServer | TemporalServer) -> Child:
    return Child(
        name=name,
        role="server",
        command=server.command,
        environment=server.environment,
        folder=server.folder,
        answers=server.answers,
        prepare=server.prepare,
    )


def _sandbox(sandbox: Sandbox, folder: DataFolder) -> Child:
    return gateway_process(
        "sandbox",
        "server",
        f"--mail={folder.path / 'mail'}",
        f"--smtp-port={sandbox.smtp_port}",
        f"--http-port={sandbox.http_port}",
        environment={},
        probe=f"{sandbox.http_url}/health",
    )


def _password(folder: DataFolder) -> str:
    file = private_folder(folder.path) / "valkey.password"
    if not file.exists():
        write_private(file, secrets.token_urlsafe(32).encode())
    return file.read_text()
