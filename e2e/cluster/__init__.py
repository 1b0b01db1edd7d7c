"""A real Kubernetes cluster on one machine, built from source packages: no image is pulled.

Two sizes.  `controlplane.ControlPlane` is etcd, API server and controller manager: three seconds, no
root.  `local` adds a node that runs pods, inside namespaces that vanish with their first process.
"""
