"""Texts for people hold no query of a URL, whoever wrote them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.codec import decode_from_agent, encode
from protocol.messages import MAX_TEXT, Ended, Report, Result, Step
from protocol.urls import without_queries
from tests.integration.test_version_skew import FROM_AGENT


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("404 for https://p.example/v1.tgz?sig=s3cret", "404 for https://p.example/v1.tgz?…"),
        ("https://p.example/v1?a=s3cret#b (again)", "https://p.example/v1?… (again)"),
        ("https://p.example?s3cret", "https://p.example?…"),
        ("http://me:s3cret@p.example/a", "http://p.example/a"),
        ("http://me:s3@cret@p.example/a?s3cret", "http://p.example/a?…"),
        ('said "https://a/b?s3cret", then <https://c/d?s3cret>', 'said "https://a/b?…", then <https://c/d?…>'),
        ("s3://bucket/key?X-Amz-Signature=s3cret", "s3://bucket/key?…"),
        ("HTTPS://P.EXAMPLE/a?s3cret", "HTTPS://P.EXAMPLE/a?…"),
        ("https://a/b#s3cret", "https://a/b?…"),
        ("https://a/b?s3cret: 403", "https://a/b?…: 403"),
        ("(see https://a/b?s3cret).", "(see https://a/b?…)."),
        ("https://a/b?c=https://d/e?s3cret", "https://a/b?…"),
        ("https://münchen.example/ü?s3cret", "https://münchen.example/ü?…"),
        ("https://a/it's/b?s3cret", "https://a/it's/b?…"),
        ("https://a/b?name='c'&sig=s3cret", "https://a/b?…"),
        ("tried 'https://a/b?s3cret', then gave up", "tried 'https://a/b?…', then gave up"),
    ],
)  # fmt: skip
def test_a_query_is_cut_and_the_rest_stays(text: str, shown: str) -> None:
    assert without_queries(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "is it healthy? no: exit status 1 (#3)",
        "health check http://127.0.0.1:8080/healthz answered 500; v1 was put back",
        "mail ops@example.com",
        "https://a/b? is that it?",
        "a: //b?c",
    ],
)
def test_what_holds_none_is_left_alone(text: str) -> None:
    assert without_queries(text) == text


def test_what_an_agent_says_that_does_not_cut_it_is_cut_here() -> None:
    """An older one, or one that means harm."""
    ended = Ended.model_construct(
        result=Result.FAILED, step=Step.PREPARE, message="https://a/b?s3cret: 403"
    )
    report = next(frame for frame in FROM_AGENT if isinstance(frame, Report))
    sent = encode(report.model_copy(update={"event": ended}))
    assert b"s3cret" in sent
    heard = decode_from_agent(sent)
    assert isinstance(heard, Report)
    assert isinstance(heard.event, Ended)
    assert heard.event.message == "https://a/b?…: 403"


@given(st.text(alphabet="a:/?#@ .é\"'…"))
def test_it_never_gets_longer_and_cutting_again_changes_nothing(text: str) -> None:
    cut = without_queries(text)
    assert len(cut) <= len(text)
    assert without_queries(cut) == cut


@pytest.mark.parametrize(
    "piece", ["://", "a://b@", "a.", "://@", "://?", "@", "a://b?c ", "://a?.", "://a?.. "]
)
def test_a_hostile_text_takes_no_longer_than_another(piece: str) -> None:
    text = (piece * MAX_TEXT)[: MAX_TEXT - 3] + "://"
    began = time.perf_counter()
    for _ in range(20):
        without_queries(text)
    assert time.perf_counter() - began < 1.0
