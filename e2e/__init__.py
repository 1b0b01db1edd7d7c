"""End-to-end parts: the local cluster, the demo, and the tests that need real pods."""
