"""How much is taken on, and for whom.

Goes in: nothing. Comes out: the limits that the application keeps.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable
from dataclasses import dataclass, field

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
IsKnown = Callable[[str], bool]


@dataclass(frozen=True)
class Limits:
    """``at_a_time``: searches that are computed; ``queue``: that wait; ``patience``: seconds that one waits at most,
    and that the server waits for who asks.

    ``body`` and ``address``: bytes of a request's body, and of its address with the query; ``parameters``: of that.
    ``connections``: at a time.
    """

    at_a_time: int = field(default_factory=lambda: 8 * (os.cpu_count() or 1))
    queue: int = 200
    patience: float = 30.0
    body: int = 64 * 1024
    # 100,000 characters are answered in words, whatever they are: one takes up to twelve bytes here.
    address: int = 1_300_000
    # So many empty ones as fit in there would be taken apart for seconds, in which nobody is answered.
    parameters: int = 100
    connections: int = 500

    def __str__(self) -> str:
        return (
            f"{self.at_a_time} searches at a time, {self.queue} waiting for at most {self.patience:g} s, "
            f"{self.connections} connections"
        )


def is_loopback(host: str) -> bool:
    """Whether a name or an address can only be reached from this machine."""
    if host in LOOPBACK_NAMES:
        return True
    address = _address(host)
    return address is not None and address.is_loopback


def host_check(host: str, names: frozenset[str] = frozenset()) -> IsKnown:
    """Which names in a request's Host header are the server's, which listens at ``host``; ``names``: others it has.

    A page elsewhere can give its own name this machine's address and then read what is answered (DNS rebinding); an
    address as such cannot be given so. Of a server that is open to the network any address may be its own.
    """
    known = {*LOOPBACK_NAMES, host.lower(), *(name.lower() for name in names)}
    is_open = not is_loopback(host)

    def is_known(given: str) -> bool:
        name = given.lower()
        return name in known or is_loopback(name) or (is_open and _address(name) is not None)

    return is_known


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def name_of(header: str) -> str | None:
    """The name in a Host header, without the port; None where there is none that could be."""
    name, bracket, port = header.rpartition("]")
    if bracket:
        if not name.startswith("[") or not _is_port(port):
            return None
        return name[1:]
    name, colon, port = header.partition(":")
    return name if name and (not colon or _is_port(f":{port}")) else None


def _is_port(text: str) -> bool:
    return text == "" or (text.startswith(":") and text[1:].isascii() and text[1:].isdecimal())
