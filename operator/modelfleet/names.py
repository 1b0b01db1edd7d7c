"""Every name that more than one place must spell alike: groups, labels, annotations, child names, ports.

A child's name is a DNS-1035 label of at most 63 characters, while an object may be called anything DNS-1123
allows (`7b`, `llama-3.1-8b`, 253 characters).  Where the name had to change, a hash of the original keeps two
objects apart.
"""

import hashlib
import re

GROUP = "modelfleet.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

LABEL_TIER = f"{GROUP}/tier"  # child object -> ModelTier (its child-safe name)
LABEL_ROUTER = f"{GROUP}/router"  # child object -> router name
LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
LABEL_COMPONENT = "app.kubernetes.io/component"
LABEL_PART_OF = "app.kubernetes.io/part-of"
LABEL_SERVICE = "kubernetes.io/service-name"  # EndpointSlice -> Service
LABEL_AGGREGATE = f"{GROUP}/aggregate-to-operator"  # ClusterRole of a user's -> the operator has its rights
MANAGER = "modelfleet"

ANNOTATION_PAUSED = f"{GROUP}/paused"
ANNOTATION_PIN_REPLICAS = f"{GROUP}/pin-replicas"  # of a ModelTier, such as "3"
ANNOTATION_PIN_WEIGHTS = f"{GROUP}/pin-weights"  # of a Cascade, such as "small=100"
ANNOTATION_ENGINE_PORT = (
    f"{GROUP}/engine-port"  # of an existing workload's pod, in the operator's memory alone
)
ANNOTATION_APPLIED_HASH = f"{GROUP}/applied-hash"

# Field managers: one writer per field, so one name per loop.
FIELD_MANAGER_STRUCTURE = "modelfleet-structure"
FIELD_MANAGER_CAPACITY = "modelfleet-capacity"

PORT_HTTP = "http"
PORT_METRICS = "metrics"
ROUTER_PORT = 8080
ROUTER_METRICS_PORT = 9090
ENGINE_PORT = 8000
SERVICE_PORT = 80

SHARED_ROUTER = "modelfleet-router"  # one per namespace that holds a Cascade
ROUTER_CLUSTER_ROLE = "modelfleet-router"  # shipped by the chart; the operator may only bind it
ROUTE_TABLE_KEY = "table.json"  # key inside a router's route-table ConfigMap
PLAN_LEARNED_KEY = "learned.json"  # keys inside a Cascade's ConfigMap of what its plan knows
PLAN_DECISION_KEY = "decision.json"
PLAN_BUDGET_KEY = "budget.json"
API_KEYS_MOUNT = "/etc/modelfleet/keys"  # one file per API key's entry in a router pod
EXTERNAL_MOUNT = "/etc/modelfleet/external"  # <mount>/<tier child name>/api-key, .../ca.crt in a router pod

_DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_NAME_CHARS_MAX = 63
_HASH_CHARS = 8


def child(name: str, *, suffix: str = "") -> str:
    """A DNS-1035 name of at most 63 characters for a child of the object called `name`; stable and collision-safe."""
    wanted = name + suffix
    if len(wanted) <= _NAME_CHARS_MAX and _DNS_1035.fullmatch(wanted):
        return wanted
    digest = hashlib.sha256(name.encode()).hexdigest()[:_HASH_CHARS]
    base = re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")
    base = base if base[:1].isalpha() else f"m-{base}"
    room = _NAME_CHARS_MAX - len(suffix) - _HASH_CHARS - 1
    return f"{base[:room].rstrip('-')}-{digest}{suffix}"


def tier_child(tier: str) -> str:
    """Name of a ModelTier's Deployment, Service, PDB and ServiceAccount, and value of its tier label."""
    return child(tier, suffix="-tier")


def router(cascade: str | None = None) -> str:
    """Name of a router's children: the namespace's shared one, or a Cascade's dedicated one."""
    return SHARED_ROUTER if cascade is None else child(cascade, suffix="-cascade-router")


def route_table(router_name: str) -> str:
    """Name of the ConfigMap that holds a router's table."""
    return child(router_name, suffix="-table")


def plan_notes(cascade: str) -> str:
    """Name of the ConfigMap that keeps what the plan of a Cascade has learned."""
    return child(cascade, suffix="-cascade-plan")
