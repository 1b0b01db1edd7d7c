"""The router as a real process under what breaks routers: too much, too many, too slow, and a world that changes."""
