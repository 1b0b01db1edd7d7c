from pathlib import Path

import pytest
from pydantic import ValidationError

from modelfleet.settings import Settings


def test_everything_has_a_default():
    assert Settings().watch_namespaces == ()


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MODELFLEET_WATCH_NAMESPACES", '["a", "b"]')
    monkeypatch.setenv("MODELFLEET_IDENTITY", "pod-1")

    settings = Settings()

    assert (settings.watch_namespaces, settings.identity) == (("a", "b"), "pod-1")


def test_nonsense_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MODELFLEET_WORKERS", "0")

    with pytest.raises(ValidationError, match="workers"):
        Settings()


def test_the_page_of_settings_has_every_variable():
    page = (Path(__file__).parents[1] / "docs" / "settings.md").read_text(encoding="utf-8")

    assert [name for name in Settings.model_fields if f"`MODELFLEET_{name.upper()}`" not in page] == []
