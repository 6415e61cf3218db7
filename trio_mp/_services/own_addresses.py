"""Where this node listens, as others can dial it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import ip_address

import trio

from .._peers.network import Network
from .._protocol.membership.messages import Addresses
from .._transport.addresses import SeedAddress, TCPAddress, parse_address

ANY_HOST = frozenset({"0.0.0.0", "::"})  # noqa: S104 - it is compared with, not listened on

INTERFACES_AGAIN = 30.0
"""How often the machine is asked for its addresses at most, in seconds."""

_HOSTS = 8

_LOOPBACK = ("127.0.0.1", "::1")


class OwnAddresses:
    """The addresses at which one node can be dialled. Where it listens on all interfaces, they depend on the dialler.

    Args:
      network: the network of the node, which knows where it listens.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._advertised: Addresses = tuple(map(str, network.settings.advertise))
        # What each of them stood for when it was looked up last.
        self._stood_for: dict[str, frozenset[str]] = {}
        # These, and what they stood for.
        self._itself = frozenset(self._advertised)
        # The IP addresses at which others have reached this node, or from which it has reached others.
        self._hosts: dict[str, None] = {}
        self._interfaces = Interfaces(network.environment.transport.own_hosts)

    def note(self, host: str) -> bool:
        """This node was reached at this IP address, or reaches others from it. Returns whether that is news."""
        if not host or host in self._hosts or len(self._hosts) >= _HOSTS:
            return False
        self._hosts[host] = None
        return True

    def reached(self) -> Addresses:
        """Where this node listens; where that is on all interfaces, at the IP addresses that have proven to work.

        The settings may say something else, which is told in place of it.
        """
        return self._advertised or self._at(self._hosts)

    def possible(self) -> Addresses:
        """Where this node listens; where that is on all interfaces, at each IP address that its machine has.

        The settings may say something else, which is told in place of it.
        """
        return self._advertised or self._at(self._interfaces.hosts())

    def to_write(self) -> Addresses:
        """The addresses of `possible`; those on this machine alone where it has no others."""
        return self.possible() or self._at(_LOOPBACK)

    def is_advertised(self, address: SeedAddress) -> bool:
        """Whether the settings say that others reach this node at an address, or what they say leads there."""
        return str(address) in self._itself

    async def look_up(self) -> bool:
        """Look up the names among the advertised addresses. A checkpoint. Returns whether there may be any.

        What a name stood for counts until it stands for something else: nobody may know it for a while.
        """
        has_names = False
        for address in self._network.settings.advertise:
            try:
                found = frozenset(map(str, await self._network.environment.transport.resolve(address)))
            except OSError:
                has_names = True
                continue
            self._stood_for[str(address)] = found
            has_names = has_names or found != {str(address)}
        await trio.lowlevel.checkpoint()
        self._itself = frozenset(self._advertised).union(*self._stood_for.values())
        return has_names

    def _at(self, hosts: Iterable[str]) -> Addresses:
        addresses: dict[str, None] = {}
        for text in self._network.binds:
            address = parse_address(text)
            if isinstance(address, TCPAddress) and address.host in ANY_HOST:
                fitting = [host for host in hosts if (":" in host) == (":" in address.host)]
                # Those by which other machines reach it come first.
                fitting.sort(key=lambda host: ip_address(host).is_loopback)
                addresses.update((str(TCPAddress(host, address.port)), None) for host in fitting)
            else:
                addresses[text] = None
        return tuple(addresses)


class Interfaces:
    """The IP addresses of this machine, which is asked now and then, and not for every attempt of each search.

    Args:
      ask: asks the machine.
    """

    def __init__(self, ask: Callable[[], list[str]]) -> None:
        self._ask = ask
        self._asked_at = -INTERFACES_AGAIN
        self._owners: list[str] = []

    def hosts(self) -> list[str]:
        """The IP addresses of this machine, at most half a minute old."""
        now = trio.current_time()
        if now - self._asked_at >= INTERFACES_AGAIN:
            self._asked_at, self._owners = now, self._ask()
        return self._owners
