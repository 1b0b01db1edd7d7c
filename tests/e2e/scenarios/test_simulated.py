"""What the operator is told of the stand-ins, what the simulator runs, and what they are, is the same."""

from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from e2e.scenarios import simulated
from modelfleet.api.fleet_settings import FleetSettings
from modelfleet.plan.profiles import profile

ROOT = Path(__file__).parents[3]


def test_the_operator_plans_with_what_the_simulator_runs() -> None:
    values = yaml.safe_load((ROOT / "e2e" / "scenarios" / "values.yaml").read_text())
    told = profile("standin", FleetSettings.model_validate(values["settings"]))

    assert told is not None
    run = asdict(simulated.engine(told.sequences_max))
    assert {**asdict(told), "name": run["name"]} == pytest.approx(run)
