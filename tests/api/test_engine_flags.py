"""The table of managed flags against what the engines themselves print for --help."""

from pathlib import Path

import pytest

from modelfleet.api.engine_flags import LLAMA_CPP, VLLM, Managed, llama_cpp_arg_rules, vllm_arg_rules

FIXTURES = Path(__file__).parents[1] / "fixtures"
ENGINES = {"vllm": (VLLM, "vllm-flags.txt"), "llama.cpp": (LLAMA_CPP, "llama-server-flags.txt")}


def flags_of(fixture: str) -> list[set[str]]:
    """One set per flag: all of its spellings."""
    lines = (FIXTURES / fixture).read_text().splitlines()
    return [set(line.split()) for line in lines if not line.startswith("#")]


@pytest.mark.parametrize(("table", "fixture"), ENGINES.values(), ids=ENGINES)
def test_every_managed_flag_is_one_that_the_engine_knows(table: tuple[Managed, ...], fixture: str) -> None:
    known = set().union(*flags_of(fixture))

    assert {flag for group in table for flag in group.flags} <= known


@pytest.mark.parametrize(("table", "fixture"), ENGINES.values(), ids=ENGINES)
def test_every_spelling_of_a_managed_flag_is_managed(table: tuple[Managed, ...], fixture: str) -> None:
    managed = {flag for group in table for flag in group.flags}

    touched = [spellings for spellings in flags_of(fixture) if spellings & managed]

    assert touched
    assert all(spellings <= managed for spellings in touched)


def test_no_other_flag_of_vllm_is_the_beginning_of_a_managed_one() -> None:
    # vLLM takes any unambiguous prefix, so prefixes are refused: a whole flag must not be caught by that.
    managed = {flag for group in VLLM for flag in group.flags}
    others = set().union(*flags_of("vllm-flags.txt")) - managed

    assert not [flag for flag in others if any(ours.startswith(flag) for ours in managed)]


@pytest.mark.parametrize("rules", [vllm_arg_rules(), llama_cpp_arg_rules()], ids=ENGINES)
def test_every_message_names_the_flag_and_what_to_do(rules: tuple[object, ...]) -> None:
    messages = [rule.message for rule in rules]  # type: ignore[attr-defined]

    assert all(message.startswith("-") and ": " in message for message in messages)
    assert len(set(messages)) == len(messages)
