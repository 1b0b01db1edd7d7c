"""The little we ask of containerd: is it there, and load this archive."""

import subprocess
from pathlib import Path

from e2e.cluster import node

# Where the kubelet looks for images.
NAMESPACE = "k8s.io"


def answers() -> bool:
    return subprocess.run(["ctr", "version"], capture_output=True, check=False).returncode == 0


def load(archive: Path) -> None:
    """Make the images of an OCI archive available to pods."""
    node.run("ctr", "--namespace", NAMESPACE, "images", "import", str(archive))
