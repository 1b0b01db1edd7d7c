"""pip's settings of the machine reach a build, except those that only the machine can see."""

import pytest

from e2e.cluster.mirrors import pip_secret

CASES = {
    "an index is passed on": (
        {"PIP_INDEX_URL": "https://mirror.test/simple"},
        "export PIP_INDEX_URL=https://mirror.test/simple",
    ),
    "uv's name for it counts": (
        {"UV_DEFAULT_INDEX": "https://mirror.test/simple"},
        "export PIP_INDEX_URL=https://mirror.test/simple",
    ),
    "a value with a space stays one word": ({"PIP_TRUSTED_HOST": "a b"}, "export PIP_TRUSTED_HOST='a b'"),
    "a value cannot run anything": ({"PIP_PROXY": "$(id)"}, "export PIP_PROXY='$(id)'"),
    "authorities come from the build's secret": (
        {"PIP_CERT": "/home/me/ca.pem"},
        "export PIP_CERT=/run/secrets/ca",
    ),
}


@pytest.mark.parametrize(("environ", "line"), CASES.values(), ids=CASES)
def test_passed_on(environ: dict[str, str], line: str) -> None:
    assert line in pip_secret(environ).splitlines()


def test_places_on_this_machine_are_not_passed_on() -> None:
    assert "FIND_LINKS" not in pip_secret({"PIP_FIND_LINKS": "/opt/wheels"})
