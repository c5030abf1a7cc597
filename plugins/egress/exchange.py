"""One request on its way, and what its failure means."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpcore
import httpx

from plugins.egress.dialer import CONNECT_TIMEOUT
from plugins.egress.headers import for_another_origin, without_content
from plugins.egress.url import host_of, origin_of, parse_url, port_of
from plugins.sdk.errors import Permanent, Transient


class Exchange:
    """One request on its way, redirects included, and whether any of it was sent."""

    def __init__(
        self, *, method: str, url: httpx.URL, headers: dict[str, str], content: bytes | None, limit: int
    ) -> None:
        self.method = method
        self.url = url
        self.headers = headers
        self.content = content
        self.limit = limit
        self.sent = False

    @property
    def place(self) -> str:
        """Where the request goes now, for people."""
        return f"{host_of(self.url)}:{port_of(self.url)}"

    def message(self) -> httpcore.Request:
        """Write the request as it goes out now."""
        request = httpx.Request(
            self.method,
            self.url,
            headers=[(name.encode("latin-1"), value.encode("latin-1")) for name, value in self.headers.items()],
            content=self.content,
        )
        return httpcore.Request(
            request.method,
            httpcore.URL(
                scheme=self.url.raw_scheme,
                host=self.url.raw_host,
                port=self.url.port,
                target=self.url.raw_path,
            ),
            headers=request.headers.raw,
            content=self.content,
            extensions={"trace": self._trace, "timeout": {"connect": CONNECT_TIMEOUT}},
        )

    def redirect(self, status: int, location: str) -> None:
        """Turn this into the request that a redirect asks for (RFC 9110 §15.4)."""
        try:
            target = parse_url(str(self.url.join(location)))
        except (httpx.InvalidURL, ValueError):
            raise Permanent(f"{self.place} redirected to a malformed URL", type="egress.invalidUrl") from None
        if (status == 303 and self.method != "HEAD") or (status in (301, 302) and self.method == "POST"):
            self.method, self.content = "GET", None
            self.headers = without_content(self.headers)
        if origin_of(target) != origin_of(self.url):
            self.headers = for_another_origin(self.headers)
        self.url = target

    @contextmanager
    def failures(self, seconds: float) -> Iterator[None]:
        """Turn what httpcore and asyncio raise into errors that say whether anything was sent."""
        try:
            yield
        except Transient as error:
            if self.sent and error.effect == "none":
                raise Transient(error.message, type=error.type, effect="unknown") from error
            raise
        except TimeoutError:
            raise Transient(
                f"{self.place} did not answer within {seconds:g} s",
                type="network.timeout" if self.sent else "network.connectTimeout",
                effect="unknown" if self.sent else "none",
            ) from None
        except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
            # Connecting itself is the dialer's; what fails here is the TLS handshake.
            if isinstance(error.__cause__ or error.__context__, ssl.SSLCertVerificationError):
                raise Permanent(f"the certificate of {self.place} is not trusted", type="egress.untrusted") from None
            raise Transient(
                f"the TLS handshake with {self.place} failed",
                type="network.tls",
                effect="unknown" if self.sent else "none",
            ) from None
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.RemoteProtocolError):
            raise Transient(f"the connection to {self.place} broke off", type="network.reset") from None
        except httpcore.LocalProtocolError:
            raise Permanent(f"the request to {self.place} is malformed", type="egress.invalidRequest") from None

    async def _trace(self, event: str, info: dict[str, Any]) -> None:
        if event == "http11.send_request_headers.started":
            self.sent = True
