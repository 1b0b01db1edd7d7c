"""What a scrape would show."""

import pytest

from modelfleet.sim.meter import Meter


def metered(*, scrapes: int) -> Meter:
    """One answer more in every scrape: 100 ms to the first token, 20 ms between tokens."""
    meter = Meter(5.0)
    for at in range(scrapes):
        meter.slot.arrivals += at + 1
        for _ in range(at + 1):
            meter.answered(prompt=100, cached=40, output=50, ttft_s=0.1, itl_s=0.02, good=at % 2 == 0)
        meter.turn()
    return meter


def test_a_window_sums_its_scrapes():
    window = metered(scrapes=4).window(10.0)

    assert (window.arrivals, window.answers, window.good) == (7, 7, 3)
    assert window.rate_rps == 0.7
    assert (window.prompt_tokens_mean, window.output_tokens_mean) == (100, 50)
    assert window.itl_mean_s == pytest.approx(0.02)
    assert list(window.counts) == [3, 4]


def test_kept_is_counted_to_the_bucket_of_the_goal():
    assert metered(scrapes=4).window(10.0).itl_kept(0.02) == (7, 7)
    assert metered(scrapes=4).window(10.0).itl_kept(0.015) == (7, 0)


def test_a_late_scrape_shows_the_past():
    assert metered(scrapes=4).window(5.0, back_s=10.0).arrivals == 2


def test_quantiles_are_those_of_prometheus():
    window = metered(scrapes=2).window(60.0)

    assert window.ttft_s(1.0) == pytest.approx(0.1)
    assert 0.08 <= (window.ttft_s(0.5) or 0.0) <= 0.1


def test_nothing_answered_is_no_number():
    window = Meter(5.0).window(60.0)

    assert (window.ttft_s(0.9), window.itl_mean_s, window.prompt_tokens_mean) == (None, None, None)
