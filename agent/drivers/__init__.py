"""Drivers: the ways to start and stop an instance's service on this host.

Two rules hold for all of them: a service is never the agent's child, and whatever a
driver must know after a restart of the agent it reads back from the host.
"""
