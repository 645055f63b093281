"""What these tests hand in is counted as in the lab."""

from __future__ import annotations

from tests.lab.tally import tally

__all__ = ["tally"]
