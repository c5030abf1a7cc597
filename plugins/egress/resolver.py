"""Host names to addresses."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

#: Given a host name and a port, answers addresses in order of preference; raises OSError when there are none.
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


class SystemResolver:
    """Asks the operating system, in threads of its own: a name server that never answers holds up nothing else."""

    def __init__(self, *, threads: int = 32) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="dns")

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        answers = await asyncio.get_running_loop().run_in_executor(self._threads, _lookup, host, port)
        return list(dict.fromkeys(answers))

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _lookup(host: str, port: int) -> list[str]:
    return [str(answer[4][0]) for answer in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
