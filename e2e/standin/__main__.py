"""`python3 -m e2e.standin serve MODEL …`: what `vllm` is in the stand-in's image."""

import asyncio
import os
import sys

from e2e.standin.flags import options
from e2e.standin.server import serve

if __name__ == "__main__":
    asyncio.run(serve(options(sys.argv[1:], os.environ)))
