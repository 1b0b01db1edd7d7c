"""The data plane's shell: transports on both sides, one exchange per request, one table for all."""
