"""The agent: one on each host. It fetches, verifies, swaps, checks and puts back."""
