from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet import names
from modelfleet.api import pins

REPLICAS = {
    "a number": ("3", 3),
    "one": ("1", 1),
    "nothing: suspend is for that": ("0", None),
    "negative": ("-2", None),
    "a word": ("three", None),
    "a fraction": ("2.5", None),
    "with a blank": (" 3", None),
    "digits of another script": ("\u0663", None),
    "more than there may be": ("10001", None),
    "empty": ("", None),
}
TIERS = ("small", "large")
WEIGHTS: Mapping[str, tuple[str, dict[str, int] | None]] = {
    "all to one": ("small=100", {"small": 1000, "large": 0}),
    "shares are relative": ("small=3,large=1", {"small": 750, "large": 250}),
    "blanks between": ("small=90, large=10", {"small": 900, "large": 100}),
    "a tier that is none of them": ("medium=100", None),
    "all nothing": ("small=0,large=0", None),
    "a tier twice": ("small=1,small=2", None),
    "no share": ("small", None),
    "a share below zero": ("small=-1", None),
    "with a percent sign": ("small=100%", None),
    "a comma at the end": ("small=100,", None),
    "empty": ("", None),
}


@pytest.mark.parametrize(("text", "want"), REPLICAS.values(), ids=REPLICAS)
def test_replicas(text: str, want: int | None):
    pin = pins.replicas({names.ANNOTATION_PIN_REPLICAS: text})

    assert pin.replicas == want
    assert (pin.problem is None) == (want is not None)


@pytest.mark.parametrize(("text", "want"), WEIGHTS.values(), ids=WEIGHTS)
def test_weights(text: str, want: dict[str, int] | None):
    pin = pins.weights({names.ANNOTATION_PIN_WEIGHTS: text}, tiers=TIERS)

    assert pin.weights == want
    assert (pin.problem is None) == (want is not None)


def test_nothing_written_is_no_pin_and_no_problem():
    assert pins.replicas({}) == pins.ReplicasPin()
    assert pins.weights({}, tiers=TIERS) == pins.WeightsPin()


def test_a_problem_says_what_to_write():
    assert pins.replicas({names.ANNOTATION_PIN_REPLICAS: "many"}).problem == (
        "Annotation modelfleet.dev/pin-replicas is 'many', which is ignored: write a whole number from 1 to 10000, "
        'such as "3"; to run nothing, set spec.suspend'
    )
    assert pins.weights({names.ANNOTATION_PIN_WEIGHTS: "medium=1"}, tiers=TIERS).problem == (
        "Annotation modelfleet.dev/pin-weights is 'medium=1', which is ignored: write shares of this Cascade's tiers "
        '(small, large), such as "small=90,large=10"'
    )


@given(text=st.text(max_size=2000))
def test_whatever_is_written_is_read_or_refused(text: str):
    problem = pins.weights({names.ANNOTATION_PIN_WEIGHTS: text}, tiers=TIERS).problem
    assert problem is None or len(problem) < 1024

    pin = pins.replicas({names.ANNOTATION_PIN_REPLICAS: text})
    assert (pin.replicas is None) != (pin.problem is None)
