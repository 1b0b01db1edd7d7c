"""Fixtures shared by all tests.  What they need is built on first use, so nothing is ever skipped."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import yaml

from e2e.cluster.controlplane import ControlPlane

# How long an example takes says something of the machine, and nothing of the code.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """A real API server without nodes; `.kubeconfig`, `.kubectl(*args, stdin=None)`."""
    with ControlPlane() as running:
        yield running


@pytest.fixture(scope="session")
def assets(control_plane: ControlPlane) -> Path:
    """The folder with etcd, kube-apiserver, kube-controller-manager and kubectl."""
    return control_plane.assets


class Readable(yaml.SafeDumper):
    """Scripts and embedded JSON as blocks of lines, the way a person would write them."""


Readable.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    ),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden manifests again")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, Sequence[Any]], None]:
    """`golden("name", objects)`: the objects are what tests/golden/name.yaml says; written with --update-golden."""

    def check(name: str, objects: Sequence[Any]) -> None:
        path = Path(__file__).parent / "golden" / f"{name}.yaml"
        if request.config.getoption("--update-golden"):
            path.write_text(yaml.dump_all(objects, Dumper=Readable, sort_keys=False, width=110))
        assert list(yaml.safe_load_all(path.read_text())) == list(objects)

    return check
