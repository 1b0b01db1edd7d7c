"""The little we ask of containerd: is it there, and load this archive."""

import subprocess
from pathlib import Path

from e2e.cluster import node

# Where the kubelet looks for images.
NAMESPACE = "k8s.io"
# An import that takes a name away from an older image lets containerd collect the layers both share, at times
# between finding and using them.  Once they are collected the next try unpacks them again.
COLLECTED = "parent snapshot"
LOAD_TRIES = 3


def answers() -> bool:
    return subprocess.run(["ctr", "version"], capture_output=True, check=False).returncode == 0


def load(archive: Path) -> None:
    """Make the images of an OCI archive available to pods.  Raises RuntimeError."""
    for left in reversed(range(LOAD_TRIES)):
        try:
            node.run("ctr", "--namespace", NAMESPACE, "images", "import", str(archive))
        except RuntimeError as err:
            if COLLECTED not in str(err) or not left:
                raise
        else:
            return
