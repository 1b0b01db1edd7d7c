"""A simulator at the level of requests that runs the project's own planner and routing."""
