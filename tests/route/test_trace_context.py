import pytest

from modelfleet.route import trace_context
from modelfleet.route.trace_context import Caller

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
WELL = Caller(int(TRACE, 16), int(SPAN, 16), sampled=True)
GIVEN: dict[str, tuple[list[str], Caller | None]] = {
    "none": ([], None),
    "sampled": ([f"00-{TRACE}-{SPAN}-01"], WELL),
    "not sampled": ([f"00-{TRACE}-{SPAN}-00"], Caller(WELL.trace_id, WELL.span_id, sampled=False)),
    "flags of a later version": ([f"cc-{TRACE}-{SPAN}-03-more"], WELL),
    "more than this version has": ([f"00-{TRACE}-{SPAN}-01-more"], None),
    "the version that is none": ([f"ff-{TRACE}-{SPAN}-01"], None),
    "no trace": ([f"00-{'0' * 32}-{SPAN}-01"], None),
    "no span": ([f"00-{TRACE}-{'0' * 16}-01"], None),
    "capitals": ([f"00-{TRACE.upper()}-{SPAN}-01"], None),
    "too short": ([f"00-{TRACE}-{SPAN[:-1]}-01"], None),
    "twice": ([f"00-{TRACE}-{SPAN}-01"] * 2, None),
}


@pytest.mark.parametrize(("values", "want"), GIVEN.values(), ids=GIVEN)
def test_caller(values: list[str], want: Caller | None):
    headers = [(b"traceparent", value.encode()) for value in values]

    assert trace_context.caller([(b"host", b"r"), *headers]) == want


def test_line_is_read_as_it_was_written():
    name, _, value = trace_context.line(WELL.trace_id, WELL.span_id).strip().partition(b": ")

    assert trace_context.caller([(name, value)]) == WELL
