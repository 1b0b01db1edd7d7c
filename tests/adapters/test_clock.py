import time

from modelfleet.adapters.clock import SystemClock


def test_it_tells_the_time():
    assert time.time() - 5 <= SystemClock().now_s() <= time.time()
