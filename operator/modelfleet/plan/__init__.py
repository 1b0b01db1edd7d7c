"""From one frozen snapshot of the fleet to replicas and weights, each with its reason.  Pure: no I/O, no clock."""
