"""Names and links that lead out of the folder, in every order."""

from __future__ import annotations

from tests.archives.hostile import Builder, Hostile, Scene, members, of
from tests.parts.packages import header, pax

_SYMLINK, _HARD_LINK, _FOLDER = b"2", b"1", b"5"


def _symlink(name: str, target: str) -> bytes:
    return header(name, kind=_SYMLINK, target=target)


def _hard_link(name: str, target: str) -> bytes:
    return header(name, kind=_HARD_LINK, target=target)


def _folder(name: str) -> bytes:
    return header(name, kind=_FOLDER)


def _gnu_long(kind: bytes, text: str) -> bytes:
    return header("././@LongLink", text.encode() + b"\0", kind=kind)


def _aimed(build: object) -> Builder:
    """A builder from a function of the scene that returns members."""
    assert callable(build)
    return lambda scene: [members(*build(scene))]


def _absolute(scene: Scene) -> tuple[bytes, ...]:
    return (pax({"path": f"{scene.outside}/evil"}) + header("x", b"evil"),)


def _link_then_through(scene: Scene) -> tuple[bytes, ...]:
    return _symlink("way", scene.up), header("way/evil", b"evil")


def _link_chain_then_through(scene: Scene) -> tuple[bytes, ...]:
    return (
        _folder("a"),
        _symlink("a/up", ".."),
        _symlink("b", "a/up/.."),
        _symlink("c", "b/.."),
        header("c/evil", b"evil"),
    )


def _linked_later(scene: Scene) -> tuple[bytes, ...]:
    """The file comes first, the link takes its folder's place afterwards."""
    return header("way/good", b"x"), _symlink("way", scene.up), header("way/evil", b"evil")


def _link_before_its_target(scene: Scene) -> tuple[bytes, ...]:
    return _symlink("first", "second/secret"), _symlink("second", scene.up)


def _swapped(scene: Scene) -> tuple[bytes, ...]:
    """A link that is harmless until another one is put under it."""
    return (
        _folder("a/b/c/d"),
        _symlink("door", "a/b/c/d"),
        _symlink("out", "door/../../../../../../../outside/secret"),
    )


def _hard_link_to_link(scene: Scene) -> tuple[bytes, ...]:
    """A hard link to a symbolic link leads elsewhere from another depth."""
    return _symlink("a/b/c", "../../fine"), _hard_link("c", "a/b/c"), header("c", b"evil")


def _hard_link_over(scene: Scene) -> tuple[bytes, ...]:
    return _hard_link("door", f"{scene.up}/secret"), header("door", b"evil")


ARCHIVES = (
    Hostile(
        "dot-dot", lambda s: [members(header(f"{s.up}/evil", b"x"))], "'../../../outside/evil'"
    ),
    Hostile("dot-dot-inside", of(header("a/../../evil", b"x")), "'a/../../evil'"),
    Hostile("dot-dot-that-stays-inside", of(header("a/../b", b"x")), "'a/../b'"),
    Hostile("dot-dot-at-the-end", of(_folder("a/..")), "'a/..'"),
    Hostile("dot-dot-after-dots", of(header("./././../evil", b"x")), "'./././../evil'"),
    Hostile("dot-dot-backslash", of(header("..\\..\\evil", b"x")), "'..\\..\\evil'"),
    Hostile("backslash", of(header("a\\b", b"x")), "'a\\b'"),
    Hostile("absolute", _aimed(_absolute), "/outside/evil' is an absolute path"),
    Hostile("absolute-by-two-slashes", of(header("//tmp/evil", b"x")), "'//tmp/evil'"),
    Hostile("drive", of(header("C:/Windows/evil", b"x")), "'C:/Windows/evil'"),
    Hostile("drive-relative", of(header("c:evil", b"x")), "'c:evil'"),
    Hostile("unc", of(header("\\\\server\\share\\evil", b"x")), "'\\\\server\\share\\evil'"),
    Hostile("unc-with-slashes", of(header("//server/share/evil", b"x")), "'//server/share/evil'"),
    Hostile("device-namespace", of(header("\\\\?\\C:\\evil", b"x")), "'\\\\?\\C:\\evil'"),
    Hostile("symlink-absolute", lambda s: [members(_symlink("l", "/etc/passwd"))], "'l'"),
    Hostile("symlink-up", lambda s: [members(_symlink("l", s.up))], "'l'"),
    Hostile("symlink-up-from-below", of(_symlink("d/e/l", "../../../evil")), "'d/e/l'"),
    Hostile("symlink-then-file-through-it", _aimed(_link_then_through), "'way"),
    Hostile("file-then-symlink-in-its-folders-place", _aimed(_linked_later), "'way'"),
    Hostile("symlinks-to-symlinks", _aimed(_link_chain_then_through), "'c"),
    Hostile("symlink-before-its-target", _aimed(_link_before_its_target), "'first'"),
    Hostile("symlink-through-another", _aimed(_swapped), "'out'"),
    Hostile("symlink-to-itself", of(_symlink("l", "l")), "'l'"),
    Hostile("symlinks-in-a-circle", of(_symlink("a", "b/c"), _symlink("b", "a/d")), "'a'"),
    Hostile("symlink-then-file-of-its-name", of(_symlink("l", "fine"), header("l", b"x")), "'l'"),
    Hostile("file-then-symlink-of-its-name", of(_symlink("fine", "other")), "'fine'"),
    Hostile("symlink-to-dot-then-through", of(_symlink("l", "."), header("l/l/x", b"x")), "'l'"),
    Hostile("hard-link-up", lambda s: [members(_hard_link("h", f"{s.up}/secret"))], "/secret'"),
    Hostile("hard-link-absolute", of(_hard_link("h", "/etc/passwd")), "'/etc/passwd'"),
    Hostile("hard-link-then-overwritten", _aimed(_hard_link_over), "/secret'"),
    Hostile("hard-link-through-symlink", of(_symlink("l", "."), _hard_link("h", "l/fine")), "'h'"),
    Hostile("hard-link-to-symlink-moved", _aimed(_hard_link_to_link), "'c'"),
    Hostile("hard-link-before-its-file", of(_hard_link("h", "later"), header("later", b"")), "'h'"),
    Hostile("hard-link-to-itself", of(_hard_link("h", "h")), "'h'"),
    Hostile("hard-link-to-folder", of(_folder("d"), _hard_link("h", "d")), "'h'"),
    Hostile(
        "gnu-long-name-up",
        of(_gnu_long(b"L", "a/" * 60 + "../" * 70 + "evil"), header("x")),
        "'a/a/",
    ),
    Hostile(
        "gnu-long-link-up",
        lambda s: [members(_gnu_long(b"K", f"{s.outside}/secret"), _symlink("l", "fine"))],
        "'l'",
    ),
    Hostile(
        "gnu-long-name-behind-pax",
        of(_gnu_long(b"L", "good"), pax({"path": "../x"}), header("x")),
        "'../x'",
    ),
    Hostile(
        "pax-behind-gnu-long-name",
        of(pax({"path": "../x"}), _gnu_long(b"L", "good"), header("x")),
        "'../x'",
    ),
    Hostile("pax-path-up", of(pax({"path": "../evil"}), header("good", b"x")), "'../evil'"),
    Hostile("pax-linkpath-up", of(pax({"linkpath": "../evil"}), _symlink("l", "fine")), "'l'"),
    Hostile(
        "pax-path-twice",
        of(header("P", b"15 path=../no\n11 path=x\n", kind=b"x"), header("y")),
        "extended header is damaged (after 'fine')",
    ),
    Hostile(
        "pax-hard-link-up", of(pax({"linkpath": "../evil"}), _hard_link("h", "fine")), "'../evil'"
    ),
    Hostile("prefix-up", of(header("evil", b"x", prefix="..")), "'../evil'"),
    Hostile("prefix-absolute", of(header("evil", b"x", prefix="/tmp")), "'/tmp/evil'"),
)
