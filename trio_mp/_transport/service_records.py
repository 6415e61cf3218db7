"""SRV records: where the hosts of a service are, by the name of the service in DNS.

They are looked up by dnspython, an extra, because the system's resolver has no question for them. What a server answers
is bounded here, and believed no more than any answer of DNS: whoever is dialled has to prove that it is a member.
"""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass

import trio

from .._errors import ConfigurationError
from .addresses import TCPAddress

LONGEST = 10.0
"""How long a lookup may take, in seconds, with all servers that are asked one after the other."""

MOST_TARGETS = 64
"""How many hosts of one service are used, those of the best priorities."""

_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.\-]{0,251}[A-Za-z0-9_])?", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class ServiceTarget:
    """One host of a service.

    Attributes:
      priority: the smallest number is the best; the others are spare.
      weight: how often it is to be used, among those of its priority.
      host, port: where it listens.
    """

    priority: int
    weight: int
    host: str
    port: int

    @property
    def address(self) -> TCPAddress:
        """Where it listens, as an address."""
        return TCPAddress(self.host, self.port)


@dataclass(frozen=True, slots=True)
class ServiceRecords:
    """What DNS says of a service.

    Attributes:
      targets: its hosts, the best first.
      seconds: for how long that holds.
    """

    targets: tuple[ServiceTarget, ...]
    seconds: float


def check_dns() -> None:
    """Load what looks up SRV records. Raises `ConfigurationError` if that is not installed."""
    try:
        import dns.asyncresolver  # an extra: only who names such a seed needs it
    except ImportError as error:
        raise ConfigurationError(
            f"seeds: expected dnspython for a seed 'srv:NAME', got none ({error}); install `trio-mp[dns]`"
        ) from None
    assert dns.asyncresolver is not None


async def find_records(name: str, server: tuple[str, int] | None = None) -> ServiceRecords:
    """Look up the SRV records of a name. A checkpoint. Cancelled, it leaves nothing behind.

    Args:
      name: the name; one that does not end with a dot is looked for in the domains of this machine, too.
      server: the IP address and the port of the server to ask; by default those that this machine asks.

    Raises:
      OSError: there are none, or no server has answered.
      ConfigurationError: dnspython is not installed.
    """
    check_dns()
    import dns.asyncbackend  # see `check_dns`
    import dns.asyncresolver  # see `check_dns`
    import dns.exception  # see `check_dns`
    import dns.resolver  # see `check_dns`

    with trio.move_on_after(LONGEST):
        try:
            resolver = dns.asyncresolver.Resolver(configure=server is None)
            if server is not None:
                resolver.nameservers, resolver.port = [server[0]], server[1]
            answer = await resolver.resolve(name, "SRV", search=True, backend=dns.asyncbackend.get_backend("trio"))
        except dns.resolver.NXDOMAIN:
            raise OSError(errno.ENOENT, "there is no such name") from None
        except dns.resolver.NoAnswer:
            raise OSError(errno.ENOENT, "the name has no SRV records") from None
        except dns.resolver.LifetimeTimeout:
            raise OSError(errno.ETIMEDOUT, "no server of DNS has answered") from None
        except (dns.exception.DNSException, ValueError, OSError) as error:
            raise OSError(errno.EIO, f"DNS cannot be asked: {_in_one_line(error)}") from error
        found = [
            ServiceTarget(one.priority, one.weight, one.target.to_text(omit_final_dot=True), one.port) for one in answer
        ]
        # A dot alone says that there is no such service here.
        targets = sorted({one for one in found if one.port and one.host != "." and _HOST.fullmatch(one.host)})
        if not targets:
            raise OSError(errno.ENOENT, "the SRV records of the name name no host")
        return ServiceRecords(tuple(targets[:MOST_TARGETS]), float(answer.chaining_result.minimum_ttl))
    raise OSError(errno.ETIMEDOUT, f"no server of DNS has answered within {LONGEST:g} s")


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
