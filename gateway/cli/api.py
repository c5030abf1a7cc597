"""A client of our own API, for the terminal."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import httpx

from gateway.cli.errors import Missing, Refusal, Unreachable

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

    def get(self, path: str, /, **params: Any) -> Any:
        return self.send("GET", path, params={name: value for name, value in params.items() if value is not None})

    def post(self, path: str, body: Any = None, *, headers: dict[str, str] | None = None) -> Any:
        return self.send("POST", path, json={} if body is None else body, headers=headers)

    def put(self, path: str, body: Any) -> Any:
        return self.send("PUT", path, json=body)

    def patch(self, path: str, body: Any) -> Any:
        return self.send("PATCH", path, json=body)

    def delete(self, path: str) -> Any:
        return self.send("DELETE", path)

    def text(self, path: str, /, **params: Any) -> str:
        """Return an answer that is no JSON."""
        return self._ask("GET", path, params={name: value for name, value in params.items() if value is not None}).text

    def send(self, method: str, path: str, **options: Any) -> Any:
        response = self._ask(method, path, **options)
        return response.json() if response.content else None

    def _ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            response = self._client.request(method, path, **options)
        except httpx.TransportError as error:
            raise Unreachable(f"{self.url} does not answer ({error}). Is it running? See `gateway status`.") from None
        if response.is_error:
            raise _refusal(response)
        return response

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


def _refusal(response: httpx.Response) -> Refusal:
    try:
        problem = response.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        problem = {"detail": response.text[:500]}
    title = str(problem.get("title") or response.reason_phrase)
    return Refusal(response.status_code, title, str(problem.get("detail") or ""), problem.get("errors") or ())
