"""The agent's pure core: tables and arithmetic, no I/O."""
