import json

from typer.testing import CliRunner

from modelfleet.cli.main import app
from modelfleet.route.keys import entry

ALL = ["--model", "chat", "--tier", "small", "--tier", "big", "--data-class", "internal"]


def test_the_printed_entry_lets_the_printed_key_in():
    done = CliRunner().invoke(app, ["key", "team-a", *ALL, "--requests-per-minute", "60"])
    patch = json.loads(done.stdout)
    made = entry("team-a", patch["stringData"]["team-a"].encode())
    shown = done.stderr.splitlines()[0].rpartition(" ")[2]

    assert made.matches(shown.encode())
    assert (made.models, made.tiers) == (frozenset({"chat"}), frozenset({"small", "big"}))
    assert (made.data_class, made.per_minute) == ("internal", 60)
    assert shown not in done.stdout


def test_two_keys_differ():
    first, second = (CliRunner().invoke(app, ["key", "a"]).stdout for _ in range(2))

    assert first != second


def test_a_name_that_no_secret_could_hold_is_refused():
    done = CliRunner().invoke(app, ["key", "team a"])

    assert done.exit_code == 2
    assert "mf-" not in done.output


def test_a_rate_beyond_all_reason_is_refused():
    done = CliRunner().invoke(app, ["key", "a", "--requests-per-minute", "99999999"])

    assert done.exit_code == 2
    assert "requestsPerMinute" in done.output
