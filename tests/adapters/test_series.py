import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from modelfleet.adapters import series
from modelfleet.adapters.readings import SERIES
from modelfleet.adapters.series import SeriesReader
from modelfleet.router.metrics import RouterMetrics
from tests.recorded import RECORDED

IN_FLIGHT = "modelfleet_router_requests_in_flight"


def numbers(reader: SeriesReader, page: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {(one.name, tuple(sorted(one.labels.items()))): value for one, value in reader.read(page).items()}


def as_the_library_reads(page: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name in SERIES and math.isfinite(sample.value)
    }


def router_page() -> str:
    metrics = RouterMetrics("team")
    stats = metrics.tier("chat", "s", 'a "quoted" \\ name')
    stats.judges, stats.started = True, 17
    stats.first_token.observe(0.3)
    metrics.pool("small").waiting = 3
    return generate_latest(metrics.registry()).decode()


PAGES = {
    "a router": router_page(),
    "vLLM": (RECORDED / "vllm-0.32.0/metrics-loaded.txt").read_text(),
    "llama.cpp": (RECORDED / "llama.cpp/metrics-loaded.txt").read_text(),
    "nothing": "",
    "infinite and none": f'{IN_FLIGHT}{{a="b"}} +Inf\n{IN_FLIGHT}{{a="c"}} 1e3\n',
    "with times": f'{IN_FLIGHT}{{a="b"}} 3 1700000000000\n',
    "without labels, and a name that only begins alike": f"{IN_FLIGHT} 3\n{IN_FLIGHT}_old 4\n",
}


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_reads_what_the_library_reads_the_second_time_too(page: str):
    reader = SeriesReader(SERIES)

    assert numbers(reader, page) == as_the_library_reads(page)
    assert numbers(reader, page) == as_the_library_reads(page)


def test_a_series_is_the_same_object_wherever_it_is_met():
    reader = SeriesReader(SERIES)
    (one,) = reader.read(f'{IN_FLIGHT}{{a="b",c="d"}} 1\n')
    (again,) = reader.read(f'{IN_FLIGHT}{{c="d", a="b"}} 2\n')

    assert one is again


@pytest.mark.parametrize("line", [f"{IN_FLIGHT} much", f'{IN_FLIGHT}{{a="b}} 1', f"{IN_FLIGHT}"])
def test_a_page_that_is_none_is_an_error(line: str):
    reader = SeriesReader(SERIES)
    reader.read(f"{IN_FLIGHT} 1\n")
    with pytest.raises(ValueError, match=r"."):
        reader.read(f"{line}\n")


@given(st.text(max_size=80), st.text('{}"\\\n=,# 1eE+.', max_size=20))
def test_any_text_is_read_or_refused(text: str, tail: str):
    reader = SeriesReader(SERIES)
    text = f"{text}\n{IN_FLIGHT}{tail}"
    for _ in range(2):
        try:
            reader.read(text)
        except ValueError:
            continue


def test_what_is_no_number_is_no_sample():
    reader = SeriesReader(SERIES)

    for _ in range(2):
        assert list(reader.read(f'{IN_FLIGHT}{{a="b"}} NaN\n{IN_FLIGHT}{{a="c"}} 2\n').values()) == [2.0]


LIES = {
    "a negative counter": (f"{IN_FLIGHT} -1\n", "is -1"),
    "more than can be added up": (f"{IN_FLIGHT} 1e300\n", "is 1e\\+300"),
    "ten megabytes of a label": (f'{IN_FLIGHT}{{a="{"x" * 10_000_000}"}} 1\n', "characters"),
    "a bucket whose bound is a word": (f'{IN_FLIGHT}{{le="high"}} 1\n', "high"),
    "a bucket without a bound": (f'{IN_FLIGHT}{{le="NaN"}} 1\n', "without a bound"),
    "lines without end": ("\n" * (series.LINES_MAX + 1), "lines"),
}


@pytest.mark.parametrize(("page", "why"), LIES.values(), ids=LIES)
def test_what_no_honest_pod_says_makes_a_page_none(page: str, why: str):
    # Half of it would be a number that is too small.
    with pytest.raises(ValueError, match=why):
        SeriesReader(SERIES).read(f'{IN_FLIGHT}{{a="b"}} 2\n{page}')


def test_more_series_than_a_router_has_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(series, "PAGE_SERIES_MAX", 1000)
    page = "".join(f'{IN_FLIGHT}{{a="{at}"}} 1\n' for at in range(1001))

    with pytest.raises(ValueError, match="1000 series"):
        SeriesReader(SERIES).read(page)
    assert len(SeriesReader(SERIES).read(page[: page.rindex("{") - len(IN_FLIGHT)])) == 1000


def test_a_large_page_is_read_in_moments():
    page = "".join(f'{IN_FLIGHT}{{a="{at}"}} 1\n' for at in range(10_000))
    reader = SeriesReader(SERIES)
    parts = [len(part) for part in reader.parts(page)]

    assert sum(parts) == 10_000
    assert max(parts) <= 300  # new ones
    assert len(list(reader.parts(page))) == 1  # and known ones


def test_names_of_whatever_length_do_not_pile_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(series, "TEXT_CHARS_MAX", 100_000)
    reader = SeriesReader(SERIES)
    for at in range(100):
        reader.read(f'{IN_FLIGHT}{{a="{"x" * 4000}{at}"}} 1\n')

    assert reader.age == 3  # times that all were forgotten


def test_what_breaks_lines_elsewhere_does_not_here():
    # A label may hold them, and the format ends a line at a line feed alone.
    reader = SeriesReader(SERIES)

    assert list(reader.read(f'{IN_FLIGHT}{{a="x\u2028y\x0bz"}} 4\n').values()) == [4.0]
