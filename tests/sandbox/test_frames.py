"""Frames from a child: whatever a hostile program writes is a claim with the job's nonce, or the end of the job.

Reading order: properties of the reader, then what a host makes of a claim that is not one.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import Limits, Status, values
from sandbox.frames import BadFrame, claim, read_claims
from sandbox.host import result_of

NONCE = bytes(range(16))


@given(st.lists(st.binary(max_size=50), max_size=5), st.lists(st.integers(1, 30), max_size=30))
def test_claims_come_out_whole_however_the_bytes_arrive(bodies: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(claim(NONCE, body) for body in bodies)
    buffer, seen = bytearray(), []
    for cut in [*cuts, len(stream)]:
        buffer += stream[:cut]
        stream = stream[cut:]
        seen += read_claims(NONCE, buffer, 50)
    assert seen == bodies
    assert not buffer


@given(st.binary(min_size=24, max_size=200))
def test_bytes_without_the_nonce_end_the_job(junk: bytes) -> None:
    if junk[:16] != NONCE:
        with pytest.raises(BadFrame, match="nonce"):
            read_claims(NONCE, bytearray(junk), 1000)


def test_a_length_beyond_the_cap_is_refused_before_its_bytes_arrive() -> None:
    with pytest.raises(BadFrame, match="more than 1000"):
        read_claims(NONCE, bytearray(NONCE + (1 << 63).to_bytes(8, "big")), 1000)


@given(st.binary(max_size=300))
def test_a_claim_of_any_bytes_is_a_result(body: bytes) -> None:
    result = result_of(("claim", body, 0.1, 0.1, b""), Limits(), script=False)
    assert result.status in Status


@given(st.tuples(*[st.none() | st.text(max_size=5) | st.binary(max_size=5) | st.integers()] * 6) | st.text() | st.none())
def test_a_claim_of_the_wrong_shape_is_a_crash(claimed: object) -> None:
    result = result_of(("claim", values.encode(claimed), 0.1, 0.1, b""), Limits(), script=False)
    shape = [str, str, str, bytes, str, str]
    if type(claimed) is not tuple or [type(part) for part in claimed] != shape:
        assert (result.status, result.value) == (Status.CRASHED, None)


def test_a_claim_may_not_name_a_status_of_its_own() -> None:
    body = values.encode(("splendid", "", "", values.encode(1), "", ""))
    assert result_of(("claim", body, 0.1, 0.1, b""), Limits(), script=False).status is Status.CRASHED


def test_a_claimed_value_is_held_to_the_limit() -> None:
    body = values.encode(("ok", "", "", values.encode("x" * 5000), "", ""))
    assert result_of(("claim", body, 0.1, 0.1, b""), Limits(result_bytes=1000), script=False).status is Status.CRASHED
