"""Where the machine may connect to: the public internet, and what the operator opens on top of it."""

from collections.abc import Sequence
from ipaddress import IPv4Address, ip_network

from msgspec import Struct

from plugins.egress.addresses import Address, Network, is_public, meanings, parse_address
from plugins.egress.url import parse_authority
from plugins.sdk.errors import Permanent, PluginError

# A rule for one name of this machine is a rule for all: `localhost` resolves to either address.
_LOOPBACK = ("127.0.0.1", "::1")


class Rule(Struct, frozen=True):
    """One entry of an allow or deny list. Each field that is set must match."""

    network: Network | None = None
    host: str | None = None
    #: a name, and every name under it
    domain: str | None = None
    port: int | None = None

    def matches(self, host: str, port: int, address: Address) -> bool:
        if self.port is not None and self.port != port:
            return False
        if self.host is not None and self.host != host:
            return False
        if self.domain is not None and not f".{host}".endswith(f".{self.domain}"):
            return False
        return self.network is None or any(meaning in self.network for meaning in meanings(address))


def parse_rules(entry: str) -> tuple[Rule, ...]:
    """Read ``10.0.0.0/8``, ``10.0.0.7:8080``, ``[fd00::7]``, ``quotes.internal:8080`` or ``.internal``.

    A host name is matched as it stands in the URL, whatever it resolves to; one with a dot in front stands for itself
    and every name under it.

    Raises:
        ValueError: `entry` has none of these forms.
    """
    text = entry.strip()
    try:
        if "/" in text:
            networks = [ip_network(text, strict=False)]
            if IPv4Address("127.0.0.1") in networks[0]:
                networks.append(ip_network("::1"))
            return tuple(Rule(network=network) for network in networks)
        if text.startswith("."):
            domain, port = parse_authority(text[1:])
            return (_domain_rule(domain, port),)
        if text.count(":") > 1 and not text.startswith("["):
            text = f"[{text}]"
        host, port = parse_authority(text)
        names = _LOOPBACK if host in ("localhost", *_LOOPBACK) else (host,)
        return tuple(_rule(name, port) for name in names)
    except (ValueError, PluginError):
        raise ValueError(
            f"{entry!r} is neither a network (10.0.0.0/8) nor an address, host or domain (.example.com), with or"
            " without a port (host:8080)"
        ) from None


def _domain_rule(domain: str, port: int | None) -> Rule:
    if domain.replace(".", "").isdigit() or ":" in domain:
        raise ValueError("an address has nothing under it")
    return Rule(domain=domain, port=port)


def _rule(host: str, port: int | None) -> Rule:
    try:
        return Rule(network=ip_network(host), port=port)
    except ValueError:
        return Rule(host=host, port=port)


class Guard:
    """Decides on every address before a connection is made.

    Args:
        allow: entries (see `parse_rules`) that are open on top of the public internet.
        deny: entries that are closed; they win over `allow` and over the public internet.

    Raises:
        ValueError: an entry cannot be read.
    """

    def __init__(self, *, allow: Sequence[str] = (), deny: Sequence[str] = ()) -> None:
        self._allow = tuple(rule for entry in allow for rule in parse_rules(entry))
        self._deny = tuple(rule for entry in deny for rule in parse_rules(entry))

    def names(self, host: str, port: int, address: Address) -> bool:
        """Tell whether an `allow` entry opens `address`, when reached as `host`."""
        return any(rule.matches(host, port, address) for rule in self._allow)

    def lets_through(self, address: str, port: int) -> bool:
        """Tell whether an address may be reached, when it is named by itself."""
        try:
            self.check(address, port, parse_address(address))
        except Permanent:
            return False
        return True

    def check(self, host: str, port: int, address: Address) -> None:
        """Let `address` pass, reached as `host`, or refuse it.

        Raises:
            Permanent: type ``egress.forbidden``.
        """
        if any(rule.matches(host, port, address) for rule in self._deny):
            raise Permanent(f"this installation denies connections to {host}:{port}", type="egress.forbidden")
        if not is_public(address) and not self.names(host, port, address):
            raise forbidden(host, port)

    def check_peer(self, host: str, port: int, expected: Address, local: str, peer: str) -> None:
        """Look again at a connection just made: it leads to `expected`, and not back into this machine.

        Raises:
            Permanent: type ``egress.forbidden``.
        """
        if parse_address(peer) != expected or (local == peer and not self.names(host, port, expected)):
            raise forbidden(host, port)


def forbidden(host: str, port: int) -> Permanent:
    return Permanent(
        f"{host}:{port} is not on the public internet, and this installation does not allow it;"
        " an operator can add it to the egress allow list",
        type="egress.forbidden",
    )
