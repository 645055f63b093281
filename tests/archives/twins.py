"""Names that are there twice, or that some file system or reader takes for another."""

from __future__ import annotations

import unicodedata

from tests.archives.hostile import Hostile, of
from tests.parts.packages import header, pax

_NFC, _NFD = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


def _twins(name: str, first: str, second: str) -> Hostile:
    return Hostile(name, of(header(first, b"1"), header(second, b"2")), f"'{second}' and '{first}'")


def _control(name: str, text: str | bytes, shown: str) -> Hostile:
    return Hostile(name, of(header(text, b"x")), shown)


ARCHIVES = (
    Hostile("duplicate", of(header("fine", b"y")), "'fine' stands in it twice"),
    Hostile("duplicate-with-dots", of(header("././/fine", b"y")), "'fine' stands in it twice"),
    Hostile("duplicate-folder-and-file", of(header("d", kind=b"5"), header("d", b"x")), "'d'"),
    Hostile("duplicate-file-and-folder", of(header("fine", kind=b"5")), "'fine'"),
    Hostile("file-below-a-file", of(header("fine/x", b"y")), "'fine' is used as a folder"),
    _twins("case-twin", "readme", "README"),
    Hostile(
        "case-twin-folder", of(header("Lib/x", b"1"), header("lib/y", b"2")), "'lib' and 'Lib'"
    ),
    _twins("unicode-twin-nfc-nfd", _NFC, _NFD),
    _twins("unicode-twin-sharp-s", "straße", "STRASSE"),
    _twins("unicode-twin-kelvin", "k", "\u212a"),
    _twins("unicode-twin-ligature", "office", "o\ufb03ce"),
    _twins("unicode-twin-final-sigma", "\u03c3", "\u03c2"),
    _control("control-newline", "a\nb", r"'a\nb'"),
    _control("control-escape", "a\x1b[2Jb", r"'a\x1b[2Jb'"),
    _control("control-bell", "a\x07", r"'a\x07'"),
    _control("control-delete", "a\x7f", r"'a\x7f'"),
    _control("control-c1", "a\x9bb", r"'a\x9bb'"),
    _control("control-right-to-left", "a\u202etxt.sh", r"'a\u202etxt.sh'"),
    _control("control-isolate", "a\u2066b", r"'a\u2066b'"),
    _control("control-line-separator", "a\u2028b", r"'a\u2028b'"),
    Hostile("control-nul-in-pax", of(pax({"path": "a\0../b"}), header("x", b"x")), r"'a\x00../b'"),
    Hostile("control-in-target", of(header("l", kind=b"2", target="a\x1bb")), r"'a\x1bb'"),
    _control("not-utf8", b"caf\xe9", r"'caf\udce9'"),
    _control("overlong-slash", b"a\xc0\xafb", r"'a\udcc0\udcafb'"),
    _control("surrogate", b"a\xed\xa0\x80", r"'a\udced\udca0\udc80'"),
    _control("empty-name", "", "empty name (after 'fine')"),
    _control("name-of-the-root", "./.", "'./.' names no file"),
    _control("name-of-a-folder", "fine2/", "'fine2/' has the name of a folder"),
    Hostile("long-part", of(pax({"path": "n" * 256}), header("x", b"x")), "'nnnnnn"),
    Hostile("long-part-in-bytes", of(pax({"path": "ü" * 128}), header("x", b"x")), "'üüüüüü"),
    Hostile(
        "long-path", of(pax({"path": "/".join(["n" * 100] * 30)}), header("x", b"x")), "'nnnnnn"
    ),
    Hostile("levels-65", of(pax({"path": "d/" * 64 + "x"}), header("x", b"x")), "'d/d/d/d"),
    Hostile("levels-1500", of(pax({"path": "d/" * 1500 + "x"}), header("x", b"x")), "'d/d/d/d"),
    Hostile(
        "levels-1500-of-folders",
        lambda scene: [
            b"".join(
                pax({"path": "d/" * depth}) + header("x", kind=b"5") for depth in range(1, 1501)
            )
        ],
        "'d/d/d/d",
    ),
)
