"""Bytes that nobody chose, for everything that reads what others send.

`python -m tests.fuzz` is the full run (`make fuzz`); `tests/fuzz/targets.py` says what is tried
and which exceptions are allowed, `tests/fuzz/seeds.py` what the bytes begin from.
"""
