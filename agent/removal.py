"""Removes a tree, whoever made it: folders of other users first become the agent's own.

An agent that is root without all of root's rights can't look into them otherwise. No
tree is so deep that this ends in anything but an `OSError`.
"""

from __future__ import annotations

import os
from pathlib import Path


def remove_tree(root: Path) -> None:
    """Remove the folder `root` and all in it, following no link. Raises `OSError`."""
    folders = [root]
    for folder in folders:  # it grows on the way
        _own(folder)
        with os.scandir(folder) as found:
            for one in found:
                if one.is_dir(follow_symlinks=False):
                    folders.append(Path(one))
                else:
                    os.unlink(one)
    for folder in reversed(folders):
        folder.rmdir()


def _own(folder: Path) -> None:
    now = folder.lstat()
    if now.st_uid != os.geteuid():
        os.chown(folder, os.geteuid(), -1, follow_symlinks=False)
    if now.st_mode & 0o700 != 0o700:
        folder.chmod(0o700)
