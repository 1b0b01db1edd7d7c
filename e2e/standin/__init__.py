"""A stand-in for vLLM: its HTTP API, its metrics, and its timing by the project's own model of an engine."""
