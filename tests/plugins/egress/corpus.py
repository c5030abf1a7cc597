"""Hostile URLs, answers of name servers, and the ground truth about both.

Ground truth is the interpreter's own audit event for every socket that connects, not what a client says.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

_watchers: list[list[Any]] = []


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if event == "socket.connect":
        for seen in _watchers:
            seen.append(args[1])


sys.addaudithook(_audit)


@contextmanager
def watched() -> Iterator[list[Any]]:
    """Collect the address of every connection that is tried inside."""
    seen: list[Any] = []
    _watchers.append(seen)
    yield seen
    _watchers.remove(seen)


#: `{port}` is a port on which a server really listens, on every address of this machine.
URLS = """
http://127.0.0.1:{port}/
http://127.0.0.1:{port}
http://127.0.0.2:{port}/
http://127.255.255.254:{port}/
http://localhost:{port}/
http://LOCALHOST:{port}/
http://localhost.:{port}/
http://0.0.0.0:{port}/
http://0:{port}/
http://0x0:{port}/
http://127.1:{port}/
http://127.0.1:{port}/
http://127.0.0.1.:{port}/
http://2130706433:{port}/
http://0x7f000001:{port}/
http://0x7f.0x0.0x0.0x1:{port}/
http://0x7f.1:{port}/
http://0X7F.1:{port}/
http://017700000001:{port}/
http://0177.0.0.1:{port}/
http://0177.1:{port}/
http://00000177.0.0.01:{port}/
http://127.0.0.01:{port}/
http://127.0.0.1%00.example.com:{port}/
http://127.0.0.0x1:{port}/
http://4294967297:{port}/
http://１２７.０.０.１:{port}/
http://127。0。0。1:{port}/
http://127．0．0．1:{port}/
http://127｡0｡0｡1:{port}/
http://①②⑦.⓪.⓪.①:{port}/
http://lo\u0441alhost:{port}/
http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ:{port}/
http://ｌｏｃａｌｈｏｓｔ:{port}/
http://local\u00adhost:{port}/
http://local\u200bhost:{port}/
http://%31%32%37.0.0.1:{port}/
http://127%2e0%2e0%2e1:{port}/
http://[::1]:{port}/
http://[0:0:0:0:0:0:0:1]:{port}/
http://[::]:{port}/
http://[::ffff:127.0.0.1]:{port}/
http://[::ffff:7f00:1]:{port}/
http://[0:0:0:0:0:ffff:127.0.0.1]:{port}/
http://[::127.0.0.1]:{port}/
http://[::ffff:0:127.0.0.1]:{port}/
http://[64:ff9b::127.0.0.1]:{port}/
http://[64:ff9b::a9fe:a9fe]/
http://[64:ff9b:1::7f00:1]:{port}/
http://[2002:7f00:1::]:{port}/
http://[2002:a9fe:a9fe::1]/
http://[2001:0:7f00:1::]:{port}/
http://[2001:0:4136:e378:8000:63bf:80ff:fffe]:{port}/
http://[fe80::5efe:127.0.0.1]:{port}/
http://[2a00:1450:4001::5efe:7f00:1]:{port}/
http://[2a00:1450:4001::200:5efe:7f00:1]:{port}/
http://[fe80::1]:{port}/
http://[fe80::1%25eth0]:{port}/
http://[fe80::1%eth0]:{port}/
http://[::1%lo]:{port}/
http://[fec0::1]:{port}/
http://[fc00::1]:{port}/
http://[fd00:ec2::254]/latest/meta-data/
http://[fd20:ce::254]/computeMetadata/v1/
http://[ff02::1]:{port}/
http://[ff0e::1]:{port}/
http://[2001:db8::1]:{port}/
http://[3fff::1]:{port}/
http://[100::1]:{port}/
http://[5f00::1]:{port}/
http://[4000::1]:{port}/
http://[::1:{port}/
http://::1:{port}/
http://[127.0.0.1]:{port}/
http://169.254.169.254/latest/meta-data/
http://169.254.169.254:80/
http://169.254.170.2/v2/credentials
http://0xa9fea9fe/latest/
http://2852039166/latest/
http://168.63.129.16/machine/
http://192.0.0.192/opc/v2/
http://192.0.0.8/
http://100.100.100.200/latest/meta-data/
http://100.64.0.1/
http://10.0.0.1/
http://172.16.0.1/
http://172.31.255.255/
http://192.168.1.1/
http://192.0.2.1/
http://192.88.99.1/
http://198.18.0.1/
http://198.51.100.1/
http://203.0.113.1/
http://224.0.0.1/
http://239.255.255.250:1900/
http://240.0.0.1/
http://255.255.255.255/
http://user@127.0.0.1:{port}/
http://user:pass@127.0.0.1:{port}/
http://example.com@127.0.0.1:{port}/
http://@127.0.0.1:{port}/
http://example.com:80@127.0.0.1:{port}/
http://example.com%40127.0.0.1:{port}/
http://127.0.0.1:{port}#@example.com/
http://127.0.0.1:{port}\\@example.com/
http://example.com\\@127.0.0.1:{port}/
http://127.0.0.1\t:{port}/
http://127.0.0.1\n:{port}/
http://127.0.0.1:{port}\r\nHost: example.com/
http://127.0.0.1 :{port}/
 http://127.0.0.1:{port}/
http:/127.0.0.1:{port}/
http:127.0.0.1:{port}/
http:///127.0.0.1:{port}/
//127.0.0.1:{port}/
127.0.0.1:{port}/
localhost:{port}
/etc/passwd
file:///etc/passwd
file://127.0.0.1:{port}/
ftp://127.0.0.1:{port}/
gopher://127.0.0.1:{port}/_GET
ws://127.0.0.1:{port}/
unix:///var/run/docker.sock
http+unix://%2Fvar%2Frun%2Fdocker.sock/
dict://127.0.0.1:{port}/info
data:text/plain,hello
javascript:alert(1)
http://
http://:{port}/
http://.:{port}/
http://..:{port}/
http://-:{port}/
http://public.test:0/
http://public.test:65536/
http://public.test:99999/
http://public.test:-1/
http://public.test:+80/
http://public.test:8_0/
http://public.test:８０/
http://public.test:/
http://public.test:80:80/
https://127.0.0.1:{port}/
https://[::1]:{port}/
http://{long}.test:{port}/
""".strip("\n")

#: What a hostile name server may answer; `8.8.8.8` is public.
ANSWERS: dict[str, Sequence[str]] = {
    "loopback.test": ["127.0.0.1"],
    "loopback6.test": ["::1"],
    "any.test": ["0.0.0.0"],
    "any6.test": ["::"],
    "metadata.test": ["169.254.169.254"],
    "azure.test": ["168.63.129.16"],
    "mixed-last.test": ["8.8.8.8", "127.0.0.1"],
    "mixed-first.test": ["127.0.0.1", "8.8.8.8"],
    "mixed-family.test": ["8.8.8.8", "::1"],
    "mixed-many.test": [*(f"8.8.8.{n}" for n in range(40)), "10.0.0.1"],
    "mapped.test": ["::ffff:127.0.0.1"],
    "compatible.test": ["::127.0.0.1"],
    "nat64.test": ["64:ff9b::7f00:1"],
    "sixtofour.test": ["2002:7f00:1::1"],
    "teredo.test": ["2001:0:4136:e378:8000:63bf:80ff:fffe"],
    "isatap.test": ["2a00:1450:4001::5efe:7f00:1"],
    "zone.test": ["fe80::1%eth0"],
    "site-local.test": ["fec0::1"],
    "multicast.test": ["224.0.0.251"],
    "private.test": ["10.1.2.3"],
    "carrier.test": ["100.64.3.4"],
    "nothing.test": [],
    "nonsense.test": ["not an address"],
    "xn--e1afmkfd.test": ["127.0.0.1"],
}


async def resolve(host: str, port: int) -> Sequence[str]:
    if host in ("localhost", "lоcalhost"):
        return ["127.0.0.1", "::1"]
    if host == "public.test":
        return ["127.0.0.1"]
    try:
        return ANSWERS[host]
    except KeyError:
        raise OSError(f"unknown name {host}") from None


def urls(port: int) -> list[str]:
    """Every URL of the corpus, those included that lead to a hostile name server's answers."""
    found = [line.replace("{port}", str(port)).replace("{long}", "a" * 64) for line in URLS.split("\n")]
    # these lines were split by the line ends that they carry
    found += [f"http://127.0.0.1:{port}/\r\nX: y", f"http://127.0.0.1\r:{port}/"]
    found += [f"{scheme}://{name}:{port}/" for scheme in ("http", "https") for name in ANSWERS]
    return found
