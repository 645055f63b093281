"""`make demo`: the product's main job, shown on real processes and checked while it is shown.

A coordinator, an HTTPS package server and three agents run for as long as the story is told;
everything they write lies in one temporary folder. With `--keep` they stay.
"""
