"""What a failure's text says apart from what is one instance's own. Pure.

Two failures have one cause if their signatures are equal. Of a service's output only the
last lines count, and ids, ports, pids, times, sizes, addresses, digests and temporary names
are taken out of all of it. A line of a file is no port, and a code is not of one instance: both
stay. How the old release was put back is no part of the cause, unless that failed, too.
"""

from __future__ import annotations

import re
from collections.abc import Set
from dataclasses import dataclass

from protocol.messages import Step

REGRESSED = "healthy at first, then: "
"""How the reason of a failure after the end begins."""

LAST_LINES = 3
"""Of a service's output."""

_SWITCHING = (Step.STOP, Step.SWITCH, Step.START, Step.CHECK, Step.COMMIT)


@dataclass(frozen=True, slots=True)
class Signature:
    """What equal failures have in common."""

    step: str
    """The agent's step that failed; "" if it is not known, or came after all of them."""
    regressed: bool
    """Whether it was healthy at first."""
    exit_status: int | None
    signal: int | None
    http_status: int | None
    words: str
    lines: str
    """The last that the service wrote."""
    trouble: str
    """Why the old release could not be put back; "" if it was."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One instance's failure, read."""

    signature: Signature
    words: str
    """What the agent or the coordinator said, without the step and the service's output."""
    put_back: bool
    """Whether the old release was put back and is healthy on the same host."""


def read(message: str, own: Set[str]) -> Failure:
    """Read why an instance failed, from what its agent or the coordinator said of it.

    `own` are the ids of all instances and hosts that the same task is about.
    """
    message, back = _without_the_end(message)
    message, _, trouble = message.partition("; putting back failed, too: ")
    said, _, output = _without_attempts(message).partition("\n")
    step, words = _step_of(said)
    signature = Signature(
        step=step,
        regressed=said.startswith(REGRESSED),
        exit_status=_number(_EXITED, words),
        signal=_number(_KILLED, words),
        http_status=_number(_ANSWERED, words),
        words=_common(words, own),
        lines=_common("\n".join(output.splitlines()[-LAST_LINES:]), own),
        trouble=_common(trouble.partition("\n")[0], own),
    )
    return Failure(signature, words, put_back=back == "was put back")


_END = re.compile(r"; (?:[A-Za-z0-9._+-]+ (was put back)|(left stopped and clean))\Z")
_ATTEMPTS = re.compile(r"timed out after \d+ s; the last attempt failed: ")
_EXITED = re.compile(r"\b(?:exited|ended) with status (\d+)")
_KILLED = re.compile(r"\bkilled by signal (\d+)")
_ANSWERED = re.compile(r"\banswered (\d{3})\b")


def _without_the_end(message: str) -> tuple[str, str]:
    found = _END.search(message)
    if found is None:
        return message, ""
    return message[: found.start()], found[1] or found[2]


def _without_attempts(message: str) -> str:
    """The last attempt's own failure, if the time was over while the next one was waited for."""
    found = _ATTEMPTS.match(message)
    return message[found.end() :] if found else message


def _step_of(said: str) -> tuple[str, str]:
    """The step and the rest. The agent names the steps of the switch, and none before them."""
    first, colon, rest = said.partition(": ")
    if colon and any(first == step.value for step in _SWITCHING):
        return first, rest
    if not said or said.startswith(REGRESSED):
        return "", said.removeprefix(REGRESSED)
    if said.startswith("timed out after ") and "before the switch" not in said:
        return "", said
    return Step.PREPARE.value, said


def _number(pattern: re.Pattern[str], words: str) -> int | None:
    found = pattern.search(words)
    return int(found[1]) if found else None


# ---- what is an instance's own ---------------------------------------------

_WORD = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?", re.ASCII)
_UNIT = re.compile(r"\bferryman-instance-([A-Za-z0-9._-]+)\.service\b")
"""A unit that the agent names after its instance."""
_LINE = (
    "c|cc|clj|cpp|cs|cxx|erl|ex|exs|go|h|hpp|java|js|jsx|kt|lua|m|mjs|cjs|php|pl|pm|py|rb|rs|scala"
    "|sh|sql|swift|ts|tsx|vue"
)
"""After a name that ends so, a number is a line."""
_OWN = re.compile(
    rf"""
    (?P<STAYS>  (?i:code|status|error|errno) [ =:#"'(]+
                (?: 0x[0-9a-fA-F]+ | -\d{{1,10}} | \d{{1,9}} ) (?![\w#]|[-/:.,]\d)
                (?![ ](?:---|bytes)[ ]|[ ]?(?:ms|s|seconds?)\b)
              | SQLSTATE\[\w+\]
              | \.(?:{_LINE}) (?::\d+)+ (?!\w) )
  | \[(?P<BRACKETED>\d+)\]
  | (?P<THREAD> (?<=\b[IWEF])\d{{4}}[ ]\d\d:\d\d:\d\d\.\d+[ ]+\d+(?=[ ]) )
  | (?P<HOST>   (?: (?<![^\s(=\[])|(?<=[\s(=:]["']) ) (?:\*|::1?)?
              | (?: (?<=//)|(?<=@) ) [A-Za-z0-9_-]+
              | (?: (?<=//)|(?<=@)|(?<![A-Za-z0-9._/-]) ) (?![a-z0-9.-]+\.(?:{_LINE}):)
                (?: localhost | ID | [a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]{{2,}} )
    ) :\d{{1,5}} (?![A-Za-z0-9])
  | (?<![A-Za-z0-9.])(?:
        (?P<TIME>   \d{{4}}[-/]\d\d[-/]\d\d
                    (?:[T ]\d\d:\d\d:\d\d)? (?:[.,]\d+)? (?:Z|[+-]\d\d:?\d\d)?
                  | (?:[A-Z][a-z]{{2}}[ ]+\d{{1,2}}[ ])? \d\d:\d\d:\d\d (?:[.,]\d+)? )
      | (?P<ADDRESS>(?:\d{{1,3}}\.){{3}}\d{{1,3}} (?::\d+)?
                  | \[[0-9a-fA-F]*:[0-9a-fA-F:.]+\] (?::\d+)?
                  | 0x[0-9a-fA-F]+ )
      | (?P<PORT>   (?i:ports?) "?[ =:]+"? \d+ )
      | (?P<PID>    (?i:p?pid|process|processes) "?[ =:]+ \d+ (?:,[ ]\d+)*
                  | goroutine[ ]\d+ | (?<=\(node:)\d+ | \d+\#\d+ (?::[ ]\*\d+)?
                  | \d+(?=[ ]---[ ]\[) )
      | (?P<TEMPORARY> /tmp/[^\s:'"]+ | tmp[A-Za-z0-9_]{{6,}} )
      | (?P<DIGITS> [0-9a-f]{{8}}-(?:[0-9a-f]{{4}}-){{3}}[0-9a-f]{{12}}
                  | [0-9A-HJKMNP-TV-Z]{{26}}
                  | \d{{5,}} (?:\.\d+)? (?![A-Za-z0-9])
                  | (?=[a-f]*\d)[0-9a-f]{{8,}} )
      | (?P<SPAN>   (?:\d+h)?(?:\d+m)? \d+(?:\.\d+)? [ ]? (?:[mnuµ]?s|seconds?) )
      | (?P<SIZE>   \d+ (?=[ ](?:bytes|of[ ]\d|must[ ]be[ ]free|are\Z)) )
    )(?![A-Za-z0-9])
    """,
    re.VERBOSE | re.ASCII,
)


def _common(text: str, own: Set[str]) -> str:
    """The text without what is an instance's own; an id counts only as a word of its own."""
    text = _UNIT.sub(r"\1", text)
    if not own.isdisjoint(_WORD.findall(text)):
        text = _WORD.sub(lambda word: "ID" if word[0] in own else word[0], text)
    return _OWN.sub(_replaced, text)


def _replaced(found: re.Match[str]) -> str:
    """What stands for an instance's own; a host stays, without its port."""
    if found.lastgroup == "STAYS":
        return found[0]
    return f"{found['HOST']}:PORT" if found.lastgroup == "HOST" else found.lastgroup or ""
