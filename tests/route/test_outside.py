import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet.route.outside import NEVER, outside

PRIVATE = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"]
JUDGED: dict[str, tuple[list[str], list[str], str, bool]] = {
    "a public address": ([], [], "203.0.113.7", False),
    "a public address of six": ([], [], "2001:db8::7", False),
    "a private address: an API of one's own": ([], [], "10.96.0.10", False),
    "metadata": ([], [], "169.254.169.254", True),
    "metadata of six": ([], [], "fd00:ec2::254", True),
    "metadata elsewhere": ([], [], "100.100.100.200", True),
    "a host's own services": ([], [], "168.63.129.16", True),
    "its neighbour": ([], [], "100.100.100.201", False),
    "this host": ([], [], "127.0.0.1", True),
    "this host, otherwise": ([], [], "127.8.9.1", True),
    "this host of six": ([], [], "::1", True),
    "no host": ([], [], "0.0.0.0", True),
    "no host of six": ([], [], "::", True),
    "the link": ([], [], "fe80::1", True),
    "the link, with a zone": ([], [], "fe80::1%eth0", True),
    "many": ([], [], "224.0.0.1", True),
    "many of six": ([], [], "ff02::1", True),
    "all": ([], [], "255.255.255.255", True),
    "metadata in an address of six": ([], [], "::ffff:169.254.169.254", True),
    "metadata in the old form": ([], [], "::169.254.169.254", True),
    "metadata through a gateway": ([], [], "64:ff9b::a9fe:a9fe", True),
    "metadata through 6to4": ([], [], "2002:a9fe:a9fe::1", True),
    "a public one in an address of six": ([], [], "::ffff:203.0.113.7", False),
    "no address": ([], [], "api.example.com", True),
    "a number": ([], [], "2130706433", True),
    "octal digits": ([], [], "0177.0.0.1", True),
    "nothing": ([], [], "", True),
    "not in the list": (["203.0.113.0/24"], [], "198.51.100.7", True),
    "in the list": (["203.0.113.0/24"], [], "203.0.113.7", False),
    "in both lists": (["203.0.113.0/24"], ["203.0.113.7/32"], "203.0.113.7", True),
    "private ones denied": ([], PRIVATE, "192.168.1.1", True),
    "private ones denied, in an address of six": ([], PRIVATE, "::ffff:192.168.1.1", True),
    "private ones denied, and a public one": ([], PRIVATE, "203.0.113.7", False),
    "all of four allowed, and metadata": (["0.0.0.0/0"], [], "169.254.169.254", True),
    "all of four allowed, and this host": (["0.0.0.0/0"], [], "127.0.0.1", True),
    "this host named": (["127.0.0.0/8"], [], "127.0.0.1", False),
    "a part of this host named": (["127.0.0.2/32"], [], "127.0.0.1", True),
    "this host named, and denied": (["127.0.0.0/8"], ["127.0.0.1/32"], "127.0.0.1", True),
}


@pytest.mark.parametrize(("allow", "deny", "address", "denied"), JUDGED.values(), ids=JUDGED)
def test_denied(allow: list[str], deny: list[str], address: str, denied: bool):  # noqa: FBT001 - a row
    assert outside(allow, deny).denies(address) is denied


def test_a_network_that_is_none_is_an_error():
    with pytest.raises(ValueError, match="host bits"):
        outside(["10.0.0.1/8"], [])


@given(st.sampled_from(NEVER).flatmap(lambda network: st.ip_addresses(network=network)))
def test_what_is_never_allowed_is_never_allowed_by_a_wide_list(address: object):
    assert outside(["0.0.0.0/0", "::/0"], []).denies(str(address))
