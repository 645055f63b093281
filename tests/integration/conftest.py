"""What several files of this folder are given."""

from __future__ import annotations

from tests.parts.audit_trail import site, world
from tests.parts.clients import client, fake
from tests.parts.http_server import door
from tests.parts.shell import shell

__all__ = ["client", "door", "fake", "shell", "site", "world"]
