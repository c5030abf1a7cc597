"""The ground truth of effects: an HTTP server outside the system that writes down, with fsync, what reached it."""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


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
def open_ledger(file: Path) -> Iterator[Ledger]:
    """Serve a ledger on loopback. What is posted as JSON is an entry; its idempotency key header is added to it."""
    ledger = Ledger(file)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            entry = json.loads(body) if body else {}
            if key := self.headers.get("Idempotency-Key"):
                entry["key"] = key
            ledger.append(entry)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

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
