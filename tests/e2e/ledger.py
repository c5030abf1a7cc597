"""The ground truth of effects: an HTTP server outside the system that writes down, with fsync, what reached it."""

import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

#: takes an entry and what writes it down; returns the body of the answer, or ``None`` for silence
Receive = Callable[[dict[str, Any], Callable[[dict[str, Any]], None]], bytes | None]


def write_down(entry: dict[str, Any], write: Callable[[dict[str, Any]], None]) -> bytes:
    write(entry)
    return b""


class Ledger:
    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def append(self, entry: dict[str, Any]) -> None:
        with self._lock, self._file.open("a") as file:
            file.write(json.dumps(entry) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def entries(self) -> list[dict[str, Any]]:
        with self._lock:
            return [json.loads(line) for line in self._file.read_text().splitlines()] if self._file.exists() else []


@contextmanager
def open_ledger(file: Path, receive: Receive = write_down) -> Iterator[Ledger]:
    """Serve a ledger on loopback. What is posted as JSON is an entry; its idempotency key header is added to it."""
    ledger = Ledger(file)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(length)
            if len(body) < length:
                # Whoever sent it died over it.
                self.close_connection = True
                return
            entry = json.loads(body) if body else {}
            if key := self.headers.get("Idempotency-Key"):
                entry["key"] = key
            answer = receive(entry, ledger.append)
            if answer is None:
                self.close_connection = True
                return
            with contextlib.suppress(ConnectionError):
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Write nothing: the entries are the log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    ledger.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield ledger
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
