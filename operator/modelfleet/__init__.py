"""Serve every request with the smallest model that clears the bar, and run just enough replicas of each."""

__version__ = "0.1.0"
