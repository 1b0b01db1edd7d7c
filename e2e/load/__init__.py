"""A load generator that sends, counts and never retries."""
