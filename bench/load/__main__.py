"""`make bench-load`: the router under load, as a process; writes bench/out/dataplane-load.json.  `--short`: two minutes."""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import uvloop

from bench import figures
from bench.figures import Figure
from bench.load.changes import control_plane, rolling, weight_flips
from bench.load.crowds import open_streams, slow_readers, slow_senders
from bench.load.overload import overload
from bench.load.setting import Setting

SCENARIOS: dict[str, Callable[[Setting], Coroutine[Any, Any, list[Figure]]]] = {
    "overload": overload,
    "open_streams": open_streams,
    "slow_readers": slow_readers,
    "slow_senders": slow_senders,
    "weight_flips": weight_flips,
    "control_plane": control_plane,
    "rolling": rolling,
}


def main() -> int:
    """Run some scenarios, one after the other.  Exits with 1 when a count that must be zero is not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--short", action="store_true", help="a tenth of the time, less of everything; writes nothing"
    )
    parser.add_argument(
        "--only", nargs="*", choices=[*SCENARIOS], default=(), help="some of it; writes nothing"
    )
    args = parser.parse_args()
    found: list[Figure] = []
    for name, scenario in SCENARIOS.items():
        if args.only and name not in args.only:
            continue
        began_s = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="modelfleet-load-") as folder:
            mine = uvloop.run(scenario(Setting(Path(folder), long=not args.short)))
        print(f"==> {name}: {time.monotonic() - began_s:.0f} s", flush=True)
        for figure in mine:
            print(
                f"{figure.name}: {figure.value} {figure.unit} {figure.target} {figure.why or ''}", flush=True
            )
        found += mine
    if not args.only and not args.short:
        figures.write("dataplane-load.json", found)
    # Counts hold on any machine; times and shares of a busy one are only told.
    broken = [each.name for each in found if each.target == "<= 0" and each.met is False]
    if broken:
        print(f"==> not zero: {', '.join(broken)}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
