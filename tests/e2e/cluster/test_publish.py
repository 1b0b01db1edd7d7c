"""One builder at a time, and nothing half-made under a final name."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from e2e.cluster.publish import once


@pytest.fixture(autouse=True)
def private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_many_callers_make_it_once(tmp_path: Path) -> None:
    made: list[Path] = []

    def make(unfinished: Path) -> None:
        made.append(unfinished)
        unfinished.write_text("whole")

    with ThreadPoolExecutor(8) as callers:
        found = list(callers.map(lambda _: once(tmp_path / "x" / "thing", make, name="thing"), range(8)))

    assert len(made) == 1
    assert {path.read_text() for path in found} == {"whole"}


def test_a_failure_leaves_nothing_and_the_next_caller_tries_again(tmp_path: Path) -> None:
    target = tmp_path / "x" / "thing"

    def fail(unfinished: Path) -> None:
        unfinished.write_text("half")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        once(target, fail, name="thing")

    assert list(target.parent.iterdir()) == []
    assert once(target, lambda unfinished: unfinished.mkdir(), name="thing").is_dir()
