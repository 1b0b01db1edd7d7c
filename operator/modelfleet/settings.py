"""What the operator's process is told by its environment; read once by the command line and passed down.

What an administrator tunes while it runs (node pools, images, Prometheus) is in `api/fleet_settings.py`, a
ConfigMap that is read again whenever it changes.
"""

import socket
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Environment variables MODELFLEET_*; times in seconds."""

    model_config = SettingsConfigDict(env_prefix="MODELFLEET_", frozen=True)

    namespace: str = Field(default="modelfleet-system", description="Namespace the operator runs in.")
    settings_config_map: str = Field(
        default="modelfleet-settings", description="ConfigMap with the fleet's settings."
    )
    watch_namespaces: tuple[str, ...] = Field(
        default=(), description="Namespaces to look after, as a JSON list. Default: all of them."
    )
    identity: str = Field(
        default_factory=socket.gethostname, description="Who holds the lease: the name of the pod."
    )
    leader_election: bool = Field(
        default=True, description="Off only where one process runs by construction."
    )
    lease_name: str = Field(default="modelfleet-operator", description="Lease that the leader holds.")
    # Not HOST and PORT: for a Service called modelfleet, Kubernetes sets MODELFLEET_PORT itself.
    listen_host: str = Field(default="0.0.0.0", description="Address of /healthz, /readyz and /metrics.")  # noqa: S104  a pod's probes come from outside
    listen_port: int = Field(
        default=8080, ge=0, le=65535, description="Port of /healthz, /readyz and /metrics."
    )
    wake_addresses: tuple[str, ...] = Field(
        default=(),
        description="host:port where routers call the operators when a request needs a tier that sleeps, as a JSON list. "
        "One name may stand for all of them. Default: nobody is called, and tiers wake at the next decision.",
    )
    workers: int = Field(default=8, ge=1, le=64, description="Objects that are reconciled at the same time.")
    resync_s: float = Field(
        default=300.0, gt=0, description="Every object is listed and looked at this often."
    )
    api_timeout_s: float = Field(
        default=15.0, gt=0, description="Longest wait for one answer of the API server."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="Least level logged."
    )
    log_format: Literal["json", "console"] = Field(
        default="json", description="JSON lines, or text for people."
    )
