"""Frames from a child: whatever a hostile program writes is a claim with the job's nonce, or the end of the job.

Reading order: properties of the reader, then what a host makes of a claim that is not one.
"""

import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import Limits, Status, values
from sandbox.frames import HEAD_BYTES, BadFrame, claim, claimed_size, moved
from sandbox.host import Message, result_of

NONCE = bytes(range(16))


def claimed(body: bytes) -> Message:
    return Message("claim", "", 0.1, 0.1, body, True)


@given(st.binary(max_size=50))
def test_a_claim_announces_the_size_of_its_body(body: bytes) -> None:
    assert claimed_size(claim(NONCE, body)[:HEAD_BYTES], NONCE, 50) == len(body)


@given(st.binary(min_size=HEAD_BYTES, max_size=HEAD_BYTES))
def test_bytes_without_the_nonce_end_the_job(junk: bytes) -> None:
    if junk[:16] != NONCE:
        with pytest.raises(BadFrame, match="nonce"):
            claimed_size(junk, NONCE, 1000)


@given(st.integers(1001, 2**64 - 1))
def test_a_length_beyond_the_cap_is_refused_before_its_bytes_arrive(length: int) -> None:
    with pytest.raises(BadFrame, match="more than 1000"):
        claimed_size(NONCE + length.to_bytes(8, "big"), NONCE, 1000)


@given(st.binary(max_size=3000), st.integers(0, 4000))
def test_moved_bytes_arrive_whole_and_no_more_than_were_asked_for(data: bytes, count: int) -> None:
    source, feed = os.pipe()
    ours, theirs = socket.socketpair()
    with ours, theirs, os.fdopen(source), os.fdopen(feed, "wb", 0) as end:
        end.write(data)
        end.close()
        assert sum(moved(source, theirs.fileno(), count)) == min(count, len(data))
        theirs.close()
        assert ours.makefile("rb").read() == data[:count]


@given(st.binary(max_size=300))
def test_a_claim_of_any_bytes_is_a_result(body: bytes) -> None:
    result = result_of(claimed(body), Limits())
    assert result.status in Status


@given(
    st.tuples(*[st.none() | st.text(max_size=5) | st.binary(max_size=5) | st.integers()] * 6) | st.text() | st.none()
)
def test_a_claim_of_the_wrong_shape_is_a_crash(shown: object) -> None:
    result = result_of(claimed(values.encode(shown)), Limits())
    shape = [str, str, str, bytes, str, str]
    if type(shown) is not tuple or [type(part) for part in shown] != shape:
        assert (result.status, result.value) == (Status.CRASHED, None)


def test_a_claim_may_not_name_a_status_of_its_own() -> None:
    body = values.encode(("splendid", "", "", values.encode(1), "", ""))
    assert result_of(claimed(body), Limits()).status is Status.CRASHED


def test_a_claimed_value_is_held_to_the_limit() -> None:
    body = values.encode(("ok", "", "", values.encode("x" * 5000), "", ""))
    assert result_of(claimed(body), Limits(result_bytes=1000)).status is Status.OUTPUT_LIMIT
