"""The command `ferryman`: one small file for each command, over `coordinator.client`.

The module level of every file imports only click and what is as light, so that
`--help` and completion are fast; rich, aiohttp and pydantic come with the first request.
"""
