"""Whom a service of the driver `process` runs as, where its settings name a user.

Releases belong to the agent's own user: a service that runs as another one can't change them.
"""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agent.ports import StepError


@dataclass(frozen=True, slots=True)
class ServiceUser:
    """One user of this host, looked up."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str

    @property
    def environment(self) -> Mapping[str, str]:
        """What a login of the user would set."""
        return {"HOME": self.home, "USER": self.name, "LOGNAME": self.name}

    def command(self, argv: Sequence[str]) -> list[str]:
        """Return `argv` behind the program that becomes the user. Raises `StepError`."""
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise StepError("could not start: 'setpriv' (util-linux) is missing on this host")
        become = (f"--reuid={self.uid}", f"--regid={self.gid}", "--init-groups")
        return [setpriv, *become, "--inh-caps=-all", "--", *argv]


def find_user(name: str) -> ServiceUser:
    """Look the user up; raises `StepError` if the host has none, or the agent can't become it."""
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        raise StepError(f"the host has no user {name!r}") from None
    if os.geteuid() not in (0, found.pw_uid):
        raise StepError(f"only an agent that is root can start a service as the user {name!r}")
    groups = os.getgrouplist(name, found.pw_gid)
    return ServiceUser(name, found.pw_uid, found.pw_gid, tuple(groups), found.pw_dir)
