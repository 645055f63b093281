"""What coordinator, agent and clients share: words, states, frames, models and errors.

Besides these, the small things that both daemons do in the same way: reading settings,
writing a file durably, talking to systemd, mDNS. Nothing here imports from `coordinator` or
`agent`; names, states and models do no I/O.
"""

__version__ = "0.1.0"
