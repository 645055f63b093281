"""Where packages may come from: `[packages] allowed_hosts`, and the addresses of no package.

A URL's host must be named by a rule: a name by a name, an address by an address or network.
Wherever a name leads to, the address must be public or named, too, so that a name alone opens
no way into this host or its network. Link-local addresses and the like, where clouds keep
their metadata service, must be named by a rule that lies within their range. Without rules
every other address will do. Nothing here looks up or connects.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import cast

from protocol.endpoints import format_endpoint, is_address, is_host, parse_endpoint

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

HOST_RULE = (
    "a host name, *.DOMAIN for all names below it, an IP address or a network such as 10.0.0.0/8; "
    "names and addresses may have a :PORT, an IPv6 address with a port is in brackets"
)

_SPECIAL: tuple[tuple[Network, str], ...] = tuple(
    (ipaddress.ip_network(network), what)
    for network, what in (
        ("fd00:ec2::254", "a cloud's metadata service"),
        ("fd20:ce::254", "a cloud's metadata service"),
        ("100.100.100.200", "a cloud's metadata service"),
        ("168.63.129.16", "a cloud's metadata service"),
        ("192.0.0.192", "a cloud's metadata service"),
        ("169.254.0.0/16", "link-local"),
        ("fe80::/10", "link-local"),
        ("0.0.0.0/8", "no host's address"),
        ("::/128", "no host's address"),
        ("224.0.0.0/4", "multicast"),
        ("ff00::/8", "multicast"),
        ("240.0.0.0/4", "no host's address"),
    )
)
_EMBEDDING = tuple(
    IPv6Network(prefix) for prefix in ("::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "::/96")
)
"""IPv6 ranges whose last 32 bits are the IPv4 address that is really meant."""

_6TO4 = IPv6Network("2002::/16")
_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")


@dataclass(frozen=True, slots=True)
class HostRule:
    """One entry of `allowed_hosts`: a name, all names below a domain, or a network."""

    name: str = ""
    below: bool = False
    network: Network | None = None
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> HostRule:
        """Read one entry. Raises `ValueError` that says what is accepted."""
        problem = ValueError(f"must be {HOST_RULE}")
        if "%" in text:
            raise problem
        if "/" in text or is_address(text):
            try:
                return cls(network=ipaddress.ip_network(text))
            except ValueError as error:
                raise problem from error
        below, rest = text.startswith("*."), text.removeprefix("*.")
        host, port = rest, None
        if ":" in rest:
            host, port = parse_endpoint(rest)
        if not is_host(host) or (below and is_address(host)):
            raise problem
        if is_address(host):
            return cls(network=ipaddress.ip_network(host), port=port)
        return cls(name=_normal(host), below=below, port=port)

    def names_host(self, host: str, port: int) -> bool:
        """Whether this rule names a host by its name."""
        if not self.name or self.port not in (None, port):
            return False
        return host.endswith(f".{self.name}") if self.below else host == self.name

    def names_address(self, address: Address, port: int) -> bool:
        """Whether this rule names an address."""
        return self.network is not None and self.port in (None, port) and address in self.network


class AllowedHosts:
    """The rules of one agent; None: no rules were given."""

    def __init__(self, rules: Sequence[HostRule] | None = None) -> None:
        self._rules = rules

    def refuse_host(self, host: str, port: int) -> str:
        """Return why nothing may be asked of the host of a URL; "" if it may."""
        if is_address(host):
            named = self._naming(plain_address(host), port)
            why = self.refuse_address(host, port)
        else:
            named = [rule for rule in self._rules or () if rule.names_host(_normal(host), port)]
            why = ""
        if self._rules is not None and not named and not why:
            why = f"allowed_hosts does not name {format_endpoint(host, port)}"
        return why

    def refuse_address(self, text: str, port: int) -> str:
        """Return why nothing may connect to an address, wherever it came from; "" if it may."""
        address = plain_address(text)
        naming = self._naming(address, port)
        for network, what in _SPECIAL:
            if address in network:
                explicit = any(_within(rule.network, network) for rule in naming)
                return "" if explicit else f"{text} is {what}, and allowed_hosts does not name it"
        if self._rules is None or naming or _is_public(address):
            return ""
        what = "loopback" if address.is_loopback else "private"
        return f"{text} is {what}, and allowed_hosts does not name it"

    def _naming(self, address: Address, port: int) -> list[HostRule]:
        return [rule for rule in self._rules or () if rule.names_address(address, port)]


def plain_address(text: str) -> Address:
    """The address that is really meant: without a zone, IPv4 taken out of IPv6."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, IPv4Address):
        return address
    number = int(address)
    if address in _6TO4:
        return IPv4Address(number >> 80 & 0xFFFFFFFF)
    if number > 0xFFFF and any(address in network for network in _EMBEDDING):
        return IPv4Address(number & 0xFFFFFFFF)
    return address


def _is_public(address: Address) -> bool:
    return address.is_global and address not in _LOCAL_NAT64


def _within(inner: Network | None, outer: Network) -> bool:
    if inner is None or inner.version != outer.version:
        return False
    return cast(IPv4Network, inner).subnet_of(cast(IPv4Network, outer))


def _normal(name: str) -> str:
    return name.lower().removesuffix(".")
