import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from modelfleet.api.meta import ApiModel, Condition, Duration, LocalRef, ObjectMeta, seconds

DURATIONS = {
    "milliseconds": ("500ms", 0.5),
    "seconds": ("30s", 30.0),
    "minutes": ("2m", 120.0),
    "two units": ("1h30m", 5400.0),
    "a fraction": ("1.5h", 5400.0),
    "minutes before milliseconds": ("1m500ms", 60.5),
}
NOT_DURATIONS = ("", "5", "s", "-5s", "5 s", "1d", "1e3s", "5s ", "٣s", "1h30m5s1ms1ms", "1234567s")


@pytest.mark.parametrize(("text", "want"), DURATIONS.values(), ids=DURATIONS)
def test_seconds(text: str, want: float) -> None:
    assert seconds(text) == pytest.approx(want)


@pytest.mark.parametrize("text", NOT_DURATIONS)
def test_seconds_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration like 500ms, 2m or 1h30m"):
        seconds(text)


@given(st.integers(0, 999_999), st.sampled_from(["ms", "s", "m", "h"]))
def test_seconds_of_any_whole_number(number: int, unit: str) -> None:
    per = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[unit]

    assert seconds(f"{number}{unit}") == pytest.approx(number * per)


def test_duration_of_a_model_is_checked_on_read() -> None:
    # Settings come from a ConfigMap, where no API server has looked at them.
    with pytest.raises(ValidationError, match="not a duration"):
        TypeAdapter(Duration).validate_python("soon")


def test_models_read_and_write_camel_case() -> None:
    meta = ObjectMeta.model_validate({"name": "a", "resourceVersion": "7", "somethingNew": True})

    assert meta.resource_version == "7"
    assert meta.model_dump(by_alias=True)["resourceVersion"] == "7"


@pytest.mark.parametrize("model", [LocalRef(name="a"), Condition(type="Ready", status="True", reason="Up")])
def test_models_are_frozen(model: ApiModel) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        model.name = "b"  # type: ignore[attr-defined]
