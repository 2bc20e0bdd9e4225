"""The addresses that a name may lead to: checked when a connection is made, when nobody can change them any more.

Target names the hosts of its statuses, and whoever answers for their names (DNS) says where they are. So a name that
only a pattern of `status_hosts` allows must not lead into the network of this machine: its own services, the metadata
of a cloud, a router. What the configuration names itself, an address or the host of `base_url`, may lie anywhere: a
gateway of the company is in its private network.
"""

import ipaddress
import socket

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

#: Address ranges that Python counts as global, and that lead into networks all the same: those of NAT64.
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class NotPublicError(OSError):
    """A name leads to addresses in private networks, and to none besides."""


class PublicResolver(AbstractResolver):
    """Resolves names; those that the configuration does not name itself to public addresses only.

    `named`: hosts that may lie anywhere. `resolver` resolves all names, by default that of the system.
    """

    def __init__(self, named: frozenset[str], resolver: AbstractResolver | None = None) -> None:
        self._named = named
        self._resolver = resolver or ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a host. Raises `NotPublicError` if none of them may be connected to."""
        found = await self._resolver.resolve(host, port, family)
        if host.rstrip(".").lower() in self._named:
            return found
        allowed = [each for each in found if is_public(each["host"])]
        if found and not allowed:
            raise NotPublicError("it leads to a private network, and [target] status_hosts names it only by a pattern")
        return allowed

    async def close(self) -> None:
        """Close the resolver below."""
        await self._resolver.close()


def is_public(address: str) -> bool:
    """True if an address is reached over the Internet: not private, loopback, link-local, shared or reserved."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        within = ip.ipv4_mapped or ip.sixtofour or (ip.teredo or (None, None))[1]
        if ip in _NAT64:
            within = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
        if within is not None:
            return is_public(str(within))
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)
