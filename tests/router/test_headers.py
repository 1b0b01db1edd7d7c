import pytest

from modelfleet.router.headers import answer_fields, forwarded

CROSSING = {
    "trace": ((b"traceparent", b"00-a"), b"traceparent: 00-a\r\n"),
    "request id": ((b"x-request-id", b"r"), b"x-request-id: r\r\n"),
    "credentials": ((b"authorization", b"Bearer k"), b""),
    "cookies": ((b"cookie", b"a=b"), b""),
    "what steers us": ((b"x-modelfleet-tier", b"big"), b""),
    "what steers an engine": ((b"x-data-parallel-rank", b"1"), b""),
    "of one hop": ((b"te", b"trailers"), b""),
    "length": ((b"content-length", b"5"), b""),
}


@pytest.mark.parametrize(("field", "want"), CROSSING.values(), ids=CROSSING)
def test_towards_an_engine(field: tuple[bytes, bytes], want: bytes):
    assert forwarded([field]) == want


def test_towards_a_client():
    fields = [
        (b"content-type", b"Application/JSON; charset=utf-8"),
        (b"x-ratelimit-remaining", b"7"),
        (b"set-cookie", b"a=b"),
        (b"strict-transport-security", b"max-age=1"),
        (b"connection", b"close"),
        (b"x-modelfleet-attempts", b"9"),
    ]
    lines, media_type = answer_fields(fields)

    assert media_type == b"application/json"
    assert lines == b"content-type: Application/JSON; charset=utf-8\r\nx-ratelimit-remaining: 7\r\n"
