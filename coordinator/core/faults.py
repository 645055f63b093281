"""Whose fault a failure is: the package's, the host's, or not to be known. Pure.

`RULES` is the one table; the first rule that fits decides. Some words tell it alone: a full
disk is the host's, a refused archive the package's. The others are judged by how it went
elsewhere: what fails alike wherever it was tried is the package's (or its URL's), what others
came through is not. One instance alone proves nothing, unless the old version was put back
there and is healthy: then the host, its unit and its port are well.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from coordinator.core.signature import Failure
from protocol.causes import Fault
from protocol.messages import Step


@dataclass(frozen=True, slots=True)
class Spread:
    """How one failure went over the instances of its task."""

    struck: int
    """Instances that failed so."""
    through: int
    """Instances that came through the step at which those failed."""
    one_host: bool
    """Whether the struck ones are all of one host."""
    elsewhere: bool
    """Whether those that came through are all of other hosts, and there are some."""
    put_back: bool
    """Whether the old version was put back on one of the struck ones, and is healthy."""


Verdict = tuple[Fault, str]
"""Whose fault it is, and why."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A failure at one of `steps` (any, if there are none) whose words have `pattern`."""

    pattern: re.Pattern[str]
    judge: Callable[[Spread], Verdict]
    steps: tuple[Step, ...] = ()

    def fits(self, failure: Failure) -> bool:
        """Whether this rule decides of the failure."""
        signature = failure.signature
        at = Step.CHECK.value if signature.regressed else signature.step
        if self.steps and all(at != step.value for step in self.steps):
            return False
        return self.pattern.search(failure.words) is not None


def verdict(failure: Failure, spread: Spread) -> Verdict:
    """Whose fault the failure is, and why."""
    return next(rule for rule in RULES if rule.fits(failure)).judge(spread)


# ---- ways to judge ---------------------------------------------------------


def _alike(spread: Spread) -> Verdict | None:
    """What it tells that several failed alike, if it tells anything."""
    if spread.struck == 1:
        return None
    if spread.one_host and spread.elsewhere:
        return "host", "all of them are on one host, and others came through"
    if not spread.through:
        return "package", f"{spread.struck} failed alike, none came through"
    return None


def _service(spread: Spread) -> Verdict:
    """The new version ran, or was to."""
    if told := _alike(spread):
        return told
    if spread.put_back and not spread.through:
        return "package", "the version before it is healthy on the same host"
    return _unclear(spread)


def _server(spread: Spread) -> Verdict:
    """The package server's answer, which a host alone may get."""
    told = _alike(spread)
    if told is None or (spread.one_host and not spread.elsewhere):
        return _unclear(spread)
    fault, why = told
    return fault, f"its URL or its server; {why}" if fault == "package" else why


def _missing(spread: Spread) -> Verdict:
    """The package server says that there is no such package."""
    return _server(spread) if spread.through else ("package", "there is none at its URL")


def _network(spread: Spread) -> Verdict:
    """The way between a host and the package server, and what the host takes from it."""
    fault, why = _server(spread)
    return ("host" if fault == "unknown" and spread.through else fault), why


def _unclear(spread: Spread) -> Verdict:
    if not spread.through:
        return "unknown", "nothing came through elsewhere"
    others = "another instance" if spread.through == 1 else f"{spread.through} others"
    return "unknown", f"{others} came through with the same package"


# ---- the table -------------------------------------------------------------


def _rule(pattern: str, judge: Callable[[Spread], Verdict], *steps: Step) -> Rule:
    return Rule(re.compile(pattern), judge, steps)


def _host(why: str) -> Callable[[Spread], Verdict]:
    return lambda spread: ("host", why)


def _package(why: str) -> Callable[[Spread], Verdict]:
    return lambda spread: ("package", why)


RULES: tuple[Rule, ...] = (
    # What the words tell alone: the host.
    _rule(r"^timed out after \d+ s: the agent was away", _host("its agent was away")),
    _rule(r"^the agent ended \d+ times", _host("its agent ended again and again")),
    _rule("ended when the host went down", _host("it went down")),
    _rule(
        "[Nn]o space (left|for a package)|Disk quota exceeded|Read-only file system"
        "|Input/output error|Structure needs cleaning",
        _host("its disk"),
    ),
    _rule(
        "Cannot allocate memory|Too many open files|Resource temporarily unavailable",
        _host("its memory, or its limits"),
    ),
    _rule("^can't |^the journal can't be written", _host("its disk")),
    _rule(
        "no longer on disk|on disk (is damaged|was )(?!.*fetching it anew)|^no release "
        "|^another package|^nothing is prepared for it on this host",
        _host("what it keeps on its disk"),
    ),
    _rule(
        r"^systemd knows no unit|^unit \S+ (is masked|can't be loaded)",
        _host("the unit that starts the service there"),
    ),
    _rule(
        "^systemd could not be asked|^system(ctl|d-run) .*(be run|no answer)",
        _host("its systemd does not answer"),
    ),
    _rule(
        r"\(util-linux\) is missing|^the host has no user|^only an agent that is root"
        "|without root's rights|^this instance is of the service",
        _host("how it is set up"),
    ),
    _rule("", _host("nothing of the new version had run"), Step.STOP, Step.SWITCH),
    _rule("", _host("the new version was healthy"), Step.COMMIT),
    _rule(
        "other packages of this host|could not be unpacked fast enough",
        _host("it was too slow"),
        Step.PREPARE,
    ),
    # What the words tell alone: the package.
    _rule("package refused: (?!larger than allowed)", _package("what is in it"), Step.PREPARE),
    _rule(
        "package changed|^the signature (?!is by )",
        _package("it is not what was asked for"),
        Step.PREPARE,
    ),
    _rule(
        "^the package URL|is not https|user info is refused|redirects|its host is no plain",
        _package("its URL"),
        Step.PREPARE,
    ),
    # What the other instances tell.
    _rule(r"the server answered (404|410)\b", _missing, Step.PREPARE),
    _rule("the server answered|^the process that unpacks", _server, Step.PREPARE),
    _rule(
        "can't connect|host name is not known|did not answer|closed the connection"
        "|connection failed|TLS could not be set up|certificate is not trusted|not valid HTTP"
        "|broke off after|stalled|too slow|no end of the package|timed out|max_seconds"
        "|larger than allowed|allowed_hosts|trusted_keys|package_ca_file",
        _network,
        Step.PREPARE,
    ),
    _rule("", _service, Step.START, Step.CHECK),
    _rule("", _unclear),
)
