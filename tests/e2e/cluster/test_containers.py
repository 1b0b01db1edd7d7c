from pathlib import Path

import pytest

from e2e.cluster import containers, node

RACE = RuntimeError("ctr failed: parent snapshot sha256:86 does not exist: not found")
CASES = {
    "loads at once": ([None], 1),
    "layers collected under the import: once more": ([RACE, None], 2),
    "for ever: says why": ([RACE] * containers.LOAD_TRIES, containers.LOAD_TRIES),
    "no such archive: not tried again": ([RuntimeError("ctr failed: no such file")], 1),
}


@pytest.mark.parametrize(("answers", "tries"), CASES.values(), ids=CASES)
def test_load(monkeypatch: pytest.MonkeyPatch, answers: list[RuntimeError | None], tries: int):
    asked: list[str] = []

    def run(*argv: str) -> None:
        asked.append(argv[-1])
        if (error := answers[len(asked) - 1]) is not None:
            raise error

    monkeypatch.setattr(node, "run", run)

    if answers[-1] is None:
        containers.load(Path("image.tar"))
    else:
        with pytest.raises(RuntimeError, match="ctr failed"):
            containers.load(Path("image.tar"))
    assert asked == ["image.tar"] * tries
