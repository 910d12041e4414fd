"""Whatever the bytes are: a decoded value, or one clear error."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given, strategies as st

from serving.decoding import decode
from serving.errors import InvalidRequest
from serving.schemas import RankRequest

DECODER = msgspec.json.Decoder(RankRequest)


@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_decode_or_are_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest) as refused:
        decode(body, DECODER)
    assert refused.value.errors[0].fix


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(
    st.fixed_dictionaries(
        {"candidates": st.lists(json_values)}, optional={"context": json_values, "top_k": json_values}
    )
)
def test_any_json_decodes_or_is_refused(body: object) -> None:
    try:
        decode(json.dumps(body).encode(), DECODER)
    except InvalidRequest as refused:
        fault = refused.errors[0]
        assert fault.field
        assert msgspec.json.encode(fault)


def test_the_value_at_fault_is_shown() -> None:
    body = b'{"candidates": ["a", {"item_id": 1}, {"item_id": [2, 3]}]}'
    with pytest.raises(InvalidRequest) as refused:
        decode(body, DECODER)
    (fault,) = refused.value.errors
    assert (fault.field, fault.value) == ("candidates[2].item_id", "[2, 3]")
