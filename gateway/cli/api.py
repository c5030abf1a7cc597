"""A client of our own API for the terminal, and where it finds the API."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click
import httpx

from gateway.cli.errors import Missing, Refusal, Unreachable
from gateway.up.folder import DataFolder, DevFile

P = ParamSpec("P")
R = TypeVar("R")

DEFAULT_DATA_DIR = ".gateway"
_TIMEOUT = httpx.Timeout(75.0, connect=5.0)  # longer than the longest `Prefer: wait`


class Api(AbstractContextManager["Api"]):
    """One caller at one installation. Every method answers decoded JSON.

    Raises:
        Refusal: the API answered with a problem.
        Unreachable: it did not answer.
    """

    def __init__(self, url: str, key: str) -> None:
        self.url = url.rstrip("/")
        self._client = httpx.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {key}"}, timeout=_TIMEOUT, trust_env=False
        )

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, path: str, **params: Any) -> Any:
        return self.send("GET", path, params={name: value for name, value in params.items() if value is not None})

    def post(self, path: str, body: Any = None, *, headers: dict[str, str] | None = None) -> Any:
        return self.send("POST", path, json={} if body is None else body, headers=headers)

    def put(self, path: str, body: Any) -> Any:
        return self.send("PUT", path, json=body)

    def delete(self, path: str) -> Any:
        return self.send("DELETE", path)

    def send(self, method: str, path: str, **options: Any) -> Any:
        try:
            response = self._client.request(method, path, **options)
        except httpx.TransportError as error:
            raise Unreachable(f"{self.url} does not answer ({error}). Is it running? See `gateway status`.") from None
        if response.is_error:
            raise _refusal(response)
        return response.json() if response.content else None

    def all(self, path: str, limit: int, **params: Any) -> list[dict[str, Any]]:
        """Return the first `limit` items of a list, page by page."""
        items: list[dict[str, Any]] = []
        for page in self._pages(path, limit, params):
            items += page
            if len(items) >= limit:
                break
        return items[:limit]

    def workflow_id(self, name_or_id: str) -> str:
        """Return the id of a workflow that is given by its id or its name.

        Raises:
            Missing: there is none.
        """
        if name_or_id.startswith("wf_"):
            return name_or_id
        found = self.find_workflow(name_or_id)
        if found is None:
            raise Missing(f"There is no workflow {name_or_id!r}; see `gateway workflow list`.")
        return str(found["id"])

    def find_workflow(self, name: str) -> dict[str, Any] | None:
        for page in self._pages("/v1/workflows", 10_000, {}):
            for workflow in page:
                if workflow["name"] == name:
                    return workflow
        return None

    def _pages(self, path: str, limit: int, params: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
        cursor: str | None = None
        while True:
            page = self.get(path, limit=min(limit, 200), cursor=cursor, **params)
            yield page["items"]
            cursor = page.get("nextCursor")
            if cursor is None:
                return


def find_folder(data_dir: Path | None) -> DataFolder:
    """Return the data folder that is named, or ``.gateway`` in this folder or the nearest one above that has it."""
    if data_dir is not None:
        return DataFolder(data_dir)
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / DEFAULT_DATA_DIR / "up.lock").exists():
            return DataFolder(folder / DEFAULT_DATA_DIR)
    return DataFolder(here / DEFAULT_DATA_DIR)


def with_folder(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command the data folder as its first argument, and the option that names it."""

    @click.option(
        "--data-dir",
        type=click.Path(file_okay=False, path_type=Path),
        envvar="GATEWAY_DATA_DIR",
        help="Data folder of a running `gateway up`.",
    )
    @wraps(command)
    def wrapped(*args: Any, data_dir: Path | None, **options: Any) -> R:
        return command(find_folder(data_dir), *args, **options)

    return wrapped


def with_api(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command the API as its first argument, as an owner of a tenant."""
    return _with_key(command, "GATEWAY_API_KEY", lambda dev: dev.api_key)


def with_admin_api(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command the API as its first argument, as the installation's administrator."""
    return _with_key(command, "GATEWAY_ADMIN_KEY", lambda dev: dev.admin_key)


def open_api(folder: DataFolder) -> Api:
    """Return the API of the `gateway up` on `folder`.

    Raises:
        Unreachable: none is ready there.
    """
    return _open(folder, lambda dev: dev.api_key)


def _with_key(command: Callable[..., R], variable: str, key_of: Callable[[DevFile], str]) -> Callable[..., R]:
    @click.option(
        "--data-dir",
        type=click.Path(file_okay=False, path_type=Path),
        help="Data folder of a running `gateway up`; else GATEWAY_URL and the key of the environment are used.",
    )
    @wraps(command)
    def wrapped(*args: Any, data_dir: Path | None, **options: Any) -> R:
        url, key = os.environ.get("GATEWAY_URL"), os.environ.get(variable)
        if data_dir is None and url:
            if not key:
                raise Unreachable(f"GATEWAY_URL is set, {variable} is not. Set it to a key of that installation.")
            api = Api(url, key)
        else:
            named = data_dir or os.environ.get("GATEWAY_DATA_DIR")
            api = _open(find_folder(Path(named) if named else None), key_of)
        with api:
            return command(api, *args, **options)

    return wrapped


def _open(folder: DataFolder, key_of: Callable[[DevFile], str]) -> Api:
    dev = folder.read_dev()
    if dev is None:
        raise Unreachable(
            f"No gateway is ready on {folder.path}. Start one with `gateway up`, name its folder with --data-dir, "
            "or set GATEWAY_URL and GATEWAY_API_KEY."
        )
    return Api(dev.url, key_of(dev))


def _refusal(response: httpx.Response) -> Refusal:
    try:
        problem = response.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        problem = {"detail": response.text[:500]}
    title = str(problem.get("title") or response.reason_phrase)
    return Refusal(response.status_code, title, str(problem.get("detail") or ""), problem.get("errors") or ())
