"""Unpacks one package, in a process of its own that has no rights and then ends.

`python -m agent.unpacker JSON`: the arguments are `folder`, the descriptor of an empty
folder; `length` of the package or null; `limits`; `user`, uid and gid to become, or null.
The package comes in on standard input. The answer is JSON lines: each entry as in a
manifest, then one object: `{"done": true}`, or why not. Nobody has to believe it:
`agent.take_over` looks at the tree itself.
"""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

from agent import manifest
from agent.limits import Limits
from agent.member_names import shown
from agent.package_bytes import PackageBytes
from agent.ports import StepError
from agent.refused import RefusedError, TruncatedError
from agent.unpack import unpack
from agent.walls import UnpackUser, give_up

_PIECE = 256 * 1024


def main(argv: list[str]) -> int:
    """Do what the arguments say; the exit code is 0 if there is an answer."""
    asked = json.loads(argv[0])
    limits, folder = Limits(**asked["limits"]), asked["folder"]
    user = UnpackUser(*asked["user"]) if asked["user"] else None
    _load_what_is_loaded_late()
    try:
        give_up(user, folder, limits)
        os.close(folder)
    except OSError as error:
        return _answer(walls=error.strerror)
    package = PackageBytes(partial(os.read, sys.stdin.fileno(), _PIECE), asked["length"])
    return _answered(package, limits)


def _answered(package: PackageBytes, limits: Limits) -> int:
    try:
        entries = unpack(package, Path(), limits=limits)
    except TruncatedError as error:
        return _answer(truncated=error.reason)
    except RefusedError as error:
        return _answer(refused=error.reason)
    except StepError as error:
        return _answer(failed=error.message)
    except OSError as error:
        return _answer(errno=error.errno)
    except MemoryError:
        return _answer(refused="it takes too much memory")
    sys.stdout.buffer.writelines(map(manifest.encode, entries))
    return _answer(done=True)


def _answer(**said: Any) -> int:
    sys.stdout.buffer.write(json.dumps(said).encode() + b"\n")
    sys.stdout.buffer.flush()
    return 0


def _load_what_is_loaded_late() -> None:
    """Python imports some codecs when they are needed; there will be no way to read them."""
    shown("\x1b\u2028\udc80")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
