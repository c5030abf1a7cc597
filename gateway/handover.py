"""How a jobs worker hands jobs over: by the HTTP API, like any client, with a token of the job's tenant."""

import msgspec
from msgspec import Struct

from gateway.auth.service_tokens import ServiceTokens
from internal_jobs.promotion.promoter import AWAY, HandoverRefused, HandoverUnavailable
from plugins.egress.client import EgressClient, Response
from plugins.sdk.errors import PluginError
from plugins.vault.errors import VaultError

#: the service that the tokens name
NAME = "internal-jobs"
#: seconds for one request
TIMEOUT = 15.0

#: the longest that it is left alone because it says so
LONGEST = 60.0

#: what was asked for is done, or not wanted any more
_NEEDLESS = frozenset({404, 409})
#: the body, or the job, is not such that it could ever be done
_FINAL = frozenset({400, 413, 422})


class _Fault(Struct):
    detail: str = ""


class _Problem(Struct):
    detail: str = ""
    errors: tuple[_Fault, ...] = ()


class ApiHandover:
    """The `internal_jobs.promotion.promoter.Handover` of production.

    Args:
        url: of the API.
        tokens: minted for each request.
        http: may reach that URL.
    """

    def __init__(self, url: str, tokens: ServiceTokens, http: EgressClient) -> None:
        self._url = url
        self._tokens = tokens
        self._http = http

    async def start(self, tenant_id: str, job_id: str) -> None:
        await self._post(tenant_id, f"/v1/jobs/{job_id}/promote", "executions.start")

    async def stop(self, tenant_id: str, execution_id: str) -> None:
        await self._post(tenant_id, f"/v1/executions/{execution_id}/cancel", "executions.control")

    async def _post(self, tenant_id: str, path: str, permission: str) -> None:
        try:
            token = await self._tokens.mint(tenant_id, permission, name=NAME)
            answer = await self._http.request(
                "POST",
                self._url + path,
                headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
                content=b"{}",
                timeout=TIMEOUT,
                follow_redirects=False,
            )
        except VaultError as error:
            raise HandoverRefused(str(error)) from error
        except PluginError as error:
            raise HandoverUnavailable(f"{self._url} does not answer: {error.message}") from error
        if 200 <= answer.status < 300 or answer.status in _NEEDLESS:
            return
        said = f"the API answered {answer.status}: {_reason(answer)}"
        if answer.status in _FINAL:
            raise HandoverRefused(said)
        raise HandoverUnavailable(said, retry_in=_retry_after(answer))


def _retry_after(answer: Response) -> float:
    """Return the seconds that the API asks for, as when the tenant is over a cap."""
    told = answer.headers.get("retry-after", "")
    return min(float(told), LONGEST) if told.isascii() and told.isdigit() else AWAY


def _reason(answer: Response) -> str:
    try:
        problem = msgspec.json.decode(answer.content, type=_Problem)
    except msgspec.MsgspecError:
        return "no reason"
    return " ".join((problem.detail, *(fault.detail for fault in problem.errors)))[:1_000]
