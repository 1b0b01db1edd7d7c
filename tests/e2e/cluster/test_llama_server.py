"""The test image's llama-server takes the real server's flags, and refuses what that one refuses."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from e2e.cluster.llama_server import BY_NAME, BadArgument, configure

REAL_FLAGS = Path(__file__).parents[2] / "fixtures" / "llama-server-flags.txt"


def fresh() -> SimpleNamespace:
    return SimpleNamespace(
        model=SimpleNamespace(),
        cpuparams=SimpleNamespace(),
        cpuparams_batch=SimpleNamespace(),
        sampling=SimpleNamespace(),
    )


ACCEPTED = {
    "no flag: the server's own port": ([], {}, ("port", 8080)),
    "no flag: slots are automatic and share one cache": ([], {}, ("kv_unified", True)),
    "slots given: a cache for each": (["--parallel", "2"], {}, ("kv_unified", False)),
    "short spelling": (["-np", "3"], {}, ("n_parallel", 3)),
    "context": (["--ctx-size", "4096"], {}, ("n_ctx", 4096)),
    "several hosts": (["--host", "::,0.0.0.0"], {}, ("hostnames", ["::", "0.0.0.0"])),
    "aliases": (["--alias", "a,b"], {}, ("model_alias", {"a", "b"})),
    "metrics are a switch": (["--metrics"], {}, ("endpoint_metrics", True)),
    "the image's environment": ([], {"LLAMA_ARG_HOST": "0.0.0.0"}, ("hostnames", ["0.0.0.0"])),
    "the command line wins over the environment": (
        ["--host", "127.0.0.1"],
        {"LLAMA_ARG_HOST": "0.0.0.0"},
        ("hostnames", ["127.0.0.1"]),
    ),
}


@pytest.mark.parametrize(("argv", "environ", "want"), ACCEPTED.values(), ids=ACCEPTED)
def test_accepted(argv: list[str], environ: dict[str, str], want: tuple[str, object]) -> None:
    params = fresh()

    configure(params, argv, environ)

    assert getattr(params, want[0]) == want[1]


REFUSED = {
    "a flag nobody knows": (["--no-such-flag"], "invalid argument: --no-such-flag"),
    "a value behind an equals sign": (["--port=80"], "invalid argument: --port=80"),
    "an abbreviation": (["--para", "2"], "invalid argument: --para"),
    "a word that is no flag": (["serve"], "invalid argument: serve"),
    "a value left out": (["--port"], "expected value"),
    "a number that is none": (["--port", "http"], "--port"),
    "a key file that is not there": (["--api-key-file", "/no/such/file"], "--api-key-file"),
}


@pytest.mark.parametrize(("argv", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(argv: list[str], message: str) -> None:
    with pytest.raises(BadArgument, match=message):
        configure(fresh(), argv, {})


def test_every_flag_is_one_of_the_real_server() -> None:
    real = set(REAL_FLAGS.read_text().replace(",", " ").split())

    assert set(BY_NAME) - real == set()
