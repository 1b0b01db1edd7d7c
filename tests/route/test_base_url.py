import pytest

from modelfleet.route.base_url import Parts, parts

READ = {
    "https, without a port": ("https://x.com/v1", Parts("x.com", "x.com", 443, "/v1", secure=True)),
    "http, with a port and a slash": ("http://x:8000/v1/", Parts("x:8000", "x", 8000, "/v1", secure=False)),
    "a user is nobody's business": ("https://me:pw@x.com", Parts("x.com", "x.com", 443, "", secure=True)),
    "an IPv6 address": ("http://[::1]:80/v1", Parts("[::1]:80", "::1", 80, "/v1", secure=False)),
    "another protocol": ("ftp://x", None),
    "no host": ("https:///v1", None),
    "no port of this world": ("https://x:99999/v1", None),
    "port nothing": ("https://x:0/v1", None),
    "brackets": ("https://[:::::]/v1", None),
}


@pytest.mark.parametrize(("url", "want"), READ.values(), ids=READ)
def test_parts(url: str, want: Parts | None) -> None:
    assert parts(url) == want
