import pytest

from modelfleet.router.message import path

TARGETS = {
    "origin": (b"/v1/models", b"/v1/models"),
    "with a query": (b"/v1/models?a=/b?c", b"/v1/models"),
    "absolute": (b"http://host:80/v1/models?x", b"/v1/models"),
    "absolute without a path": (b"https://host", b"/"),
    "a URL in the path stays in it": (b"/http://x/v1/models", b"/http://x/v1/models"),
    "asterisk": (b"*", b"*"),
}


@pytest.mark.parametrize(("target", "want"), TARGETS.values(), ids=TARGETS)
def test_path(target: bytes, want: bytes):
    assert path(target) == want
