"""What the data plane decides for one request: pure, no clock, no randomness, no I/O."""
