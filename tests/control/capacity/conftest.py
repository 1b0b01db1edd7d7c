"""What the tests of the capacity loop share."""

import pytest

from tests.control.capacity.fleet import Fleet


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()
