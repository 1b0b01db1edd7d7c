"""How the router moves the dear tier's share within a second."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet.route.bank import Bank, Supply, entries, share

TARGET = 0.3
WIDE, ENOUGH = Supply(1000.0), Supply(30.0)


@pytest.mark.parametrize(
    ("bank", "cheap", "dear", "expected"),
    [
        pytest.param(Bank(), WIDE, Supply(30.0), 0.3, id="calm: what it was planned for"),
        pytest.param(Bank(), WIDE, Supply(20.0), 0.2, id="the dear tier is short: what it takes"),
        pytest.param(Bank(), WIDE, Supply(5.0), 0.15, id="it is very short: half the target all the same"),
        pytest.param(
            Bank(), Supply(52.0), Supply(60.0), 0.48, id="the cheap side is short: what it does not take"
        ),
        pytest.param(Bank(9000.0, 360_000.0), WIDE, ENOUGH, 0.15, id="however much it gave: half the target"),
        pytest.param(Bank(-180.0), WIDE, ENOUGH, 0.31, id="it owes: a hundredth more for three minutes"),
        pytest.param(Bank(), WIDE, Supply(40.0), 0.4, id="it has room: it gives for the next burst"),
        pytest.param(Bank(180.0, 3600.0), WIDE, Supply(100.0), 0.3, id="no more can be saved: its share"),
        pytest.param(Bank(), WIDE, Supply(100.0), 0.45, id="it idles: half as much again, at most"),
        pytest.param(
            Bank(-7200.0, 360_000.0),
            WIDE,
            Supply(1.0),
            0.41,
            id="it owes all it may: it is paid, and the queue grows",
        ),
        pytest.param(
            Bank(), Supply(40.0), Supply(20.0), 1 / 3, id="both are full: each gets what it bears as well"
        ),
        pytest.param(
            Bank(), Supply(60.0, backlog=300.0), Supply(200.0), 1.0, id="a backlog is worked off first"
        ),
    ],
)
def test_share(bank: Bank, cheap: Supply, dear: Supply, expected: float):
    assert share(bank, target=TARGET, rate_rps=100.0, cheap=cheap, dear=dear) == pytest.approx(expected)


def test_without_requests_it_is_the_target():
    assert share(Bank(), target=TARGET, rate_rps=0.0, cheap=WIDE, dear=WIDE) == TARGET


@given(st.lists(st.tuples(st.floats(0, 50), st.floats(0, 50)), max_size=50), st.floats(0.05, 0.95))
def test_what_is_saved_and_owed_is_bounded(seconds: list[tuple[float, float]], target: float):
    bank = Bank()
    for dear, cheap in seconds:
        bank = bank.after(dear=dear, total=dear + cheap, target=target)
        assert -0.05 * bank.hour - 1e-6 <= bank.balance <= 0.05 * bank.hour + 1e-6


def test_what_no_room_allowed_to_pay_is_paid_later():
    bank, given_, total = Bank(), 0.0, 0.0
    for second in range(10_800):
        dear = Supply(10.0 if second < 1800 else 40.0)  # for half an hour, a third of what it owes
        part = share(bank, target=TARGET, rate_rps=100.0, cheap=WIDE, dear=dear)
        bank = bank.after(dear=part * 100.0, total=100.0, target=TARGET)
        given_, total = given_ + part * 100.0, total + 100.0

    assert given_ / total >= TARGET - 1e-3


@pytest.mark.parametrize("minutes", [10, 30, 60, 300])
def test_an_idle_dear_tier_gets_little_more_than_its_share_from_the_beginning(minutes: int):
    bank, given_, total = Bank(), 0.0, 0.0
    for _ in range(60 * minutes):
        part = share(bank, target=TARGET, rate_rps=3.0, cheap=Supply(40.0), dear=Supply(6.0))
        bank = bank.after(dear=part * 3.0, total=3.0, target=TARGET)
        given_, total = given_ + part * 3.0, total + 3.0

    assert TARGET - 1e-3 <= given_ / total <= TARGET + 0.051  # what may be kept is a twentieth


def test_a_quiet_second_forgives_nothing():
    bank = Bank(balance=-7000.0, hour=360_000.0)

    assert bank.after(dear=0.0, total=0.0, target=TARGET).balance == pytest.approx(-7000.0, rel=0.01)


def test_over_an_hour_of_bursts_the_dear_tier_gets_its_share():
    bank, given_, total = Bank(), 0.0, 0.0
    for second in range(7200):
        rate = 160.0 if second // 60 % 2 else 40.0
        part = share(bank, target=TARGET, rate_rps=rate, cheap=Supply(120.0), dear=Supply(30.0))
        bank = bank.after(dear=part * rate, total=rate, target=TARGET)
        given_, total = given_ + part * rate, total + rate

    assert given_ / total == pytest.approx(TARGET, abs=0.005)


@given(st.floats(-1e6, 1e6), st.floats(0, 1), st.tuples(*[st.floats(0, 1e4)] * 4))
def test_a_share_is_a_share(balance: float, target: float, world: tuple[float, float, float, float]):
    rate, cheap, dear, backlog = world
    sides = {"cheap": Supply(cheap, backlog), "dear": Supply(dear, backlog)}

    assert 0 <= share(Bank(balance), target=target, rate_rps=rate, **sides) <= 1


def test_what_the_dear_tier_leaves_goes_to_the_others_by_what_they_carry():
    sides = [Supply(300.0), Supply(100.0), Supply(30.0)]

    assert entries(Bank(), target=TARGET, rate_rps=100.0, sides=sides) == pytest.approx([0.525, 0.175, 0.3])
