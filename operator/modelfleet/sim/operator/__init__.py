"""The operator's own capacity loop on a simulated cluster."""
