"""Where the pages and streams of real engines lie that tests read."""

from pathlib import Path

RECORDED = Path(__file__).parent / "fixtures"
