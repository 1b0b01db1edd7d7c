"""Figures of the router beside other proxies: `make bench-router` writes bench/out/router.json and docs/benchmarks.md."""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from bench import figures
from bench.router import report
from bench.router.rounds import Lengths, measured

ROUNDS = 3
CPUS_MIN = 2
LOAD_MAX = 2.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument(
        "--only", nargs="*", default=(), metavar="TARGET", help="some targets; writes nothing"
    )
    parser.add_argument("--quick", action="store_true", help="a second for each measurement; writes nothing")
    args = parser.parse_args()
    if (os.cpu_count() or 1) < CPUS_MIN:
        sys.exit("bench-router needs two CPUs: one for the proxy, one for load and engine")
    if os.getloadavg()[0] > LOAD_MAX:
        print(f"==> the machine is busy (load {os.getloadavg()[0]:.1f}): expect a wide range", flush=True)
    lengths = Lengths(1.0, 1.0, 1.0, 1.0) if args.quick else Lengths()
    with tempfile.TemporaryDirectory(prefix="modelfleet-bench-") as folder:
        Path(folder).chmod(0o755)  # nginx' worker is nobody
        seen = measured(Path(folder), only=tuple(args.only), rounds=args.rounds, lengths=lengths)
    found = report.figures(seen)
    if not args.only and not args.quick:
        report.write_page(figures.write("router.json", found), seen)
    for figure in found:
        print(
            f"{figure.name}: {figure.value} ({figure.low} .. {figure.high}) {figure.unit} {figure.target} {figure.why or ''}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
