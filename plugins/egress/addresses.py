"""Which addresses are the public internet, by a table of our own.

`ipaddress.is_global` is not used: it holds 168.63.129.16 (Azure's host), 192.0.0.192 (Oracle's metadata),
multicast, fec0::/10 and several forms that wrap a private IPv4 address to be global.

Sources: the IANA special-purpose registries (RFC 6890 and its updates) and the metadata addresses of the large clouds.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_IPV4_CLOSED = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by carriers; Alibaba's metadata
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's host
        "169.254.0.0/16",  # link-local; metadata of most clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)

# IPv6 is closed but for global unicast, which leaves out loopback, IPv4-compatible addresses, unique local
# addresses, link-local and site-local ones, multicast, and NAT64 for local use.
_IPV6_OPEN = IPv6Network("2000::/3")
_IPV6_CLOSED = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments: Teredo, benchmarks, ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "3ffe::/16",  # the 6bone, given back
        "3fff::/20",  # documentation
    )
)

_NAT64 = IPv6Network("64:ff9b::/96")
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)


def parse_address(text: str) -> Address:
    """Read an address as a resolver or a socket gives it, without its zone.

    Raises:
        ValueError: `text` is not one.
    """
    return ip_address(text.partition("%")[0])


def meanings(address: Address) -> tuple[Address, ...]:
    """Return every address that a packet to `address` may end at.

    An IPv4-mapped or NAT64 address is only a spelling of the IPv4 address in it. A 6to4, Teredo or ISATAP address is
    an address by itself, and a tunnel to the IPv4 address in it.
    """
    if isinstance(address, IPv4Address):
        return (address,)
    number = int(address)
    low = IPv4Address(number & 0xFFFF_FFFF)
    if address.ipv4_mapped is not None or address in _NAT64:
        return (low,)
    tunnels: list[Address] = [*(address.teredo or ())]
    if address.sixtofour is not None:
        tunnels.append(address.sixtofour)
    if (number >> 32) & 0xFFFF_FFFF in _ISATAP:
        tunnels.append(low)
    return (address, *tunnels)


def is_public(address: Address) -> bool:
    """Tell whether `address`, in each of its meanings, is an address of the public internet."""
    return all(_is_public(meaning) for meaning in meanings(address))


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _IPV4_CLOSED)
    return address in _IPV6_OPEN and not any(address in network for network in _IPV6_CLOSED)
