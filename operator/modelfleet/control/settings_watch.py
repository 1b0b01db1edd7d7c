"""Keeps the fleet's settings current: reads their ConfigMap every few seconds, and keeps the last good version."""

import asyncio
from collections.abc import Callable

import structlog
import yaml
from pydantic import ValidationError

from modelfleet.api.fleet_settings import SETTINGS_KEY, FleetSettings
from modelfleet.api.meta import Manifest
from modelfleet.control.context import Context
from modelfleet.control.ports import Key
from modelfleet.errors import ClusterError

POLL_S = 3.0
PROBLEM_CHARS_MAX = 500

log = structlog.get_logger(__name__)


class SettingsWatch:
    """Reads the ConfigMap `key`; calls `changed` whenever other settings are in force."""

    def __init__(self, ctx: Context, key: Key, changed: Callable[[], None]) -> None:
        self._ctx = ctx
        self._key = key
        self._changed = changed
        self._seen_version: str | None = None
        self.read = asyncio.Event()

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            try:
                self.take(await self._ctx.cluster.get(self._key, cached=True))
                self.read.set()
            except ClusterError as err:
                log.warning("the settings could not be read", name=self._key.name, error=str(err))
            await asyncio.sleep(POLL_S)

    def take(self, item: Manifest | None) -> None:
        """Put the settings of the ConfigMap in force; a missing one means defaults, a broken one changes nothing."""
        version = item["metadata"]["resourceVersion"] if item else ""
        if version == self._seen_version:
            return
        self._seen_version = version
        cell = self._ctx.settings
        try:
            settings = parsed(item)
        except ValueError as err:
            cell.problem = str(err)[:PROBLEM_CHARS_MAX]
            log.warning(
                "the settings are broken, the last good ones stay", name=self._key.name, error=cell.problem
            )
            return
        cell.problem = None
        if settings != cell.now:
            cell.now = settings
            log.info("settings in force", name=self._key.name, version=version)
            self._changed()


def parsed(item: Manifest | None) -> FleetSettings:
    """The settings in a ConfigMap.  Raises ValueError that says what is wrong and where."""
    text = (item or {}).get("data", {}).get(SETTINGS_KEY, "")
    try:
        return FleetSettings.model_validate(yaml.safe_load(text) or {})
    except yaml.YAMLError as err:
        raise ValueError(f"{SETTINGS_KEY} is not YAML: {err}") from err
    except ValidationError as err:
        wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in err.errors())
        raise ValueError(f"{SETTINGS_KEY}: {wrong}") from err
