"""Which addresses an external tier may be reached at.

A ModelTier is written by whoever may write one in a namespace, a name resolves to what its owner says, and both may
change between two connections.  So every address is judged when it is connected to.  Private ones are allowed unless
an administrator says otherwise: an API inside one's own network is what many external tiers are.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network

# Nobody's API is there: this host, the node's own services, cloud metadata, many hosts at once.
NEVER: tuple[Network, ...] = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",
            "127.0.0.0/8",
            "169.254.0.0/16",  # link-local; metadata of most clouds
            "100.100.100.200/32",  # metadata of one
            "168.63.129.16/32",  # what another's hosts offer their machines
            "192.0.0.192/32",  # metadata of one more
            "224.0.0.0/4",
            "255.255.255.255/32",
            "::/128",
            "::1/128",
            "fe80::/10",
            "fd00:ec2::254/128",  # metadata of one
            "fd20:ce::254/128",  # metadata of another
            "ff00::/8",
        ),
    )
)
# Networks whose addresses carry an IPv4 address, and how many bits stand behind it.
_CARRIERS: tuple[tuple[IPv6Network, int], ...] = (
    (IPv6Network("::ffff:0:0/96"), 0),
    (IPv6Network("::/96"), 0),
    (IPv6Network("64:ff9b::/96"), 0),
    (IPv6Network("2002::/16"), 80),
)


@dataclass(frozen=True, slots=True)
class Outside:
    """An administrator's lists.  An empty `allow` allows all that nothing denies."""

    allow: tuple[Network, ...] = ()
    deny: tuple[Network, ...] = ()

    def denies(self, address: str) -> bool:
        """Whether nothing may be sent to this IP address; what is no address is denied, too.

        An entry of `allow` lifts one of ours only by naming it, or a part of it: 0.0.0.0/0 does not mean metadata.
        """
        try:
            meant = _meant(ip_address(address))
        except ValueError:
            return True
        named = [each for each in self.allow if meant in each]
        if _any(meant, self.deny) or (self.allow and not named):
            return True
        ours = [each for each in NEVER if meant in each]
        return any(not _names_part(named, each) for each in ours)


def outside(allow: Iterable[str], deny: Iterable[str]) -> Outside:
    """The lists of these networks.  Raises ValueError when one is none."""
    return Outside(tuple(map(ip_network, allow)), tuple(map(ip_network, deny)))


def _meant(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The address that is reached in the end."""
    if isinstance(address, IPv4Address):
        return address
    plain = IPv6Address(int(address))  # without a zone
    for network, bits in _CARRIERS:
        if plain in network and int(plain) > 1:
            return IPv4Address(int(plain) >> bits & 0xFFFFFFFF)
    return plain


def _any(address: IPv4Address | IPv6Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)


def _names_part(named: Iterable[Network], whole: Network) -> bool:
    return any(each.version == whole.version and each.subnet_of(whole) for each in named)  # type: ignore[arg-type]
