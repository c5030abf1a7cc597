"""What can keep `gateway up` from running.

    UpError
    ├── ServerMissing    a server's program is not on this machine
    ├── PortTaken        another process listens where we should
    ├── AlreadyRunning   another `up` holds the data folder
    └── NotReady         a process did not become ready, or ended while starting

Each message is fit to show and says how to mend it.
"""


class UpError(Exception):
    """`gateway up` cannot go on."""


class ServerMissing(UpError):
    def __init__(self, program: str, remedy: str) -> None:
        super().__init__(f"{program} was not found. {remedy}")


class PortTaken(UpError):
    def __init__(self, host: str, port: int) -> None:
        super().__init__(
            f"Port {port} on {host} is taken by another process. Stop that process, choose another port with "
            "--port N, or let the system choose a free one with --port 0."
        )


class AlreadyRunning(UpError):
    """Another `up` holds the data folder."""


class NotReady(UpError):
    """A process did not become ready.

    Args:
        name: of the process.
        reason: what was seen of it.
        tail: the last lines it wrote.
    """

    def __init__(self, name: str, reason: str, tail: str) -> None:
        super().__init__(f"{name} {reason}." + (f" Its last lines:\n{tail}" if tail else ""))
