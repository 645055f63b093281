"""The pure core: no clock, no randomness, no I/O. Time comes in as an argument."""
