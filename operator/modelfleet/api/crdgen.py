"""pydantic models -> CustomResourceDefinitions, as YAML for kubectl and as templates of the chart.

Both kinds of file are committed; `--check` fails when they are not what the models say.

    python -m modelfleet.api.crdgen --write | --check
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from modelfleet import names
from modelfleet.api.cascade import CascadeSpec
from modelfleet.api.cascade_status import CascadeStatus
from modelfleet.api.model_tier import ModelTierSpec
from modelfleet.api.model_tier_status import ModelTierStatus
from modelfleet.api.structural import NotStructural, structural

HEADER = "# Generated from operator/modelfleet/api by `make generate`.\n"
CRDS_DIR = "crds"
CHART_DIR = "charts/modelfleet/templates/crds"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of `kubectl get`; `wide` ones only with `-o wide`."""

    name: str
    path: str
    description: str
    type: str = "string"
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of ours."""

    kind: str
    plural: str
    short_name: str
    about: str
    spec: type[BaseModel]
    status: type[BaseModel]
    columns: tuple[Column, ...]
    scale: bool = False

    @property
    def crd_name(self) -> str:
        """`modeltiers.modelfleet.dev`."""
        return f"{self.plural}.{names.GROUP}"


_READY = '.status.conditions[?(@.type=="Ready")]'
_AGE = Column("Age", ".metadata.creationTimestamp", "When it was created.", type="date")
_READY_COLUMN = Column("Ready", f"{_READY}.status", "Whether it answers requests.")
_REASON_COLUMN = Column("Reason", f"{_READY}.reason", "Why it is, or is not, ready.", wide=True)

KINDS = (
    Kind(
        kind="ModelTier",
        plural="modeltiers",
        short_name="mt",
        about="ModelTier is one model on one kind of node, scaled as one pool.",
        spec=ModelTierSpec,
        status=ModelTierStatus,
        scale=True,
        columns=(
            _READY_COLUMN,
            Column("Engine", ".status.engine", "What serves the model."),
            Column("Replicas", ".status.ready", "Ready of wanted pods."),
            Column("Desired", ".status.desiredReplicas", "Replicas that scaling decided on.", type="integer"),
            _AGE,
            Column("Model", ".spec.model.uri", "Where the model comes from.", wide=True),
            Column("Pool", ".spec.nodePool.name", "Kind of node.", wide=True),
            _REASON_COLUMN,
        ),
    ),
    Kind(
        kind="Cascade",
        plural="cascades",
        short_name="casc",
        about="Cascade is an ordered list of tiers, cheapest first, behind one OpenAI-compatible model name.",
        spec=CascadeSpec,
        status=CascadeStatus,
        columns=(
            Column("Model", ".spec.modelName", "What clients put in model."),
            _READY_COLUMN,
            Column("Tiers", ".status.ready", "Ready of all tiers."),
            Column("Weights", ".status.weights", "Permille of the requests that start at each tier."),
            _AGE,
            Column("Endpoint", ".status.endpoint", "Base URL for clients inside the cluster.", wide=True),
            _REASON_COLUMN,
        ),
    ),
)


def crd(kind: Kind) -> dict[str, Any]:
    """The whole CustomResourceDefinition.  Raises NotStructural."""
    version: dict[str, Any] = {
        "name": names.VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": [_column(column) for column in kind.columns],
        "subresources": _subresources(kind),
        "schema": {"openAPIV3Schema": _root(kind)},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": kind.crd_name, "labels": {names.LABEL_PART_OF: names.MANAGER}},
        "spec": {
            "group": names.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.kind.lower(),
                "shortNames": [kind.short_name],
                "categories": ["fleet"],
            },
            "versions": [version],
        },
    }


def _root(kind: Kind) -> dict[str, Any]:
    return {
        "description": kind.about,
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": f"Always {names.API_VERSION}."},
            "kind": {"type": "string", "description": f"Always {kind.kind}."},
            "metadata": {"type": "object"},
            "spec": structural(kind.spec),
            # Absent in status means "not known yet"; a default would be a claim.
            "status": structural(kind.status, defaults=False),
        },
    }


def _subresources(kind: Kind) -> dict[str, Any]:
    if not kind.scale:
        return {"status": {}}
    paths = {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }
    return {"status": {}, "scale": paths}


def _column(column: Column) -> dict[str, Any]:
    wide = {"priority": 1} if column.wide else {}
    return {
        "name": column.name,
        "type": column.type,
        "jsonPath": column.path,
        "description": column.description,
        **wide,
    }


class _Dumper(yaml.SafeDumper):
    """No anchors: a CRD is read by people, and by tools that know no aliases."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  # the base class's signature
        return True


def manifest(kind: Kind) -> str:
    """The CRD as a YAML file for kubectl."""
    return HEADER + yaml.dump(crd(kind), Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)


def chart_template(plain: str) -> str:
    """The same file for helm: behind crds.enabled, and kept on uninstall where crds.keep says so."""
    if "{{" in plain:
        raise NotStructural("chart template", "helm would read {{ in a description as code")
    keep = (
        "metadata:\n"
        "  {{- if .Values.crds.keep }}\n"
        "  annotations:\n"
        "    helm.sh/resource-policy: keep\n"
        "  {{- end }}\n"
    )
    return "{{- if .Values.crds.enabled }}\n" + plain.replace("metadata:\n", keep, 1) + "{{- end }}\n"


def files() -> dict[str, str]:
    """Every generated file, by its path from the root of the repository."""
    out: dict[str, str] = {}
    for kind in KINDS:
        plain = manifest(kind)
        name = f"{names.GROUP}_{kind.plural}.yaml"
        out[f"{CRDS_DIR}/{name}"] = plain
        out[f"{CHART_DIR}/{name}"] = chart_template(plain)
    return out


def stale(root: Path) -> list[str]:
    """Generated files that differ from what the models say now."""
    return [
        path
        for path, text in files().items()
        if not (root / path).is_file() or (root / path).read_text(encoding="utf-8") != text
    ]


def main(argv: list[str] | None = None) -> int:
    """Write the files, or say which ones are out of date; 1 if some are."""
    parser = argparse.ArgumentParser(prog="crdgen", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--root", type=Path, default=Path(), help="root of the repository")
    todo = parser.add_mutually_exclusive_group(required=True)
    todo.add_argument("--write", action="store_true", help="write the files")
    todo.add_argument("--check", action="store_true", help="fail if a file is out of date")
    options = parser.parse_args(argv)
    changed = stale(options.root)
    if options.check:
        sys.stderr.writelines(f"{path} is out of date: run `make generate`\n" for path in changed)
        return 1 if changed else 0
    for path, text in files().items():
        (options.root / path).parent.mkdir(parents=True, exist_ok=True)
        (options.root / path).write_text(text, encoding="utf-8")
    sys.stdout.writelines(f"{path}\n" for path in changed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
