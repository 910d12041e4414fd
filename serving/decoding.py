"""From bytes to the wire format, with errors that name the field, the value and the fix."""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec

from serving.errors import FieldError, InvalidRequest, shown

T = TypeVar("T")

_NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_WHERE = re.compile(r"^(?P<message>.*?)(?: - at `\$\.?(?P<path>.*)`)?$", re.DOTALL)
_STEP = re.compile(r"\[(?P<index>\d+)\]|(?P<key>[^.\[\]]+)|(?P<anything>\[\.\.\.\])")


def decode(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """The body as the decoder's type.

    Raises:
        InvalidRequest: The body is not JSON, or does not have that shape.
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as exc:
        raise InvalidRequest(_misfit(str(exc), body)) from exc
    except _NOT_JSON as exc:
        fix = "send one JSON object, UTF-8; JSON has no NaN or Infinity, send null for an unknown value"
        raise InvalidRequest(
            FieldError("body", f"must be JSON, got {len(body)} bytes that are not: {exc}", fix)
        ) from exc


def _misfit(text: str, body: bytes) -> FieldError:
    """msgspec's message taken apart: the field, the rule, and the value that the body has there."""
    match = _WHERE.match(text)
    assert match is not None  # the pattern takes any text
    path, message = match["path"] or "", match["message"]
    if unknown := re.search(r"unknown field `(.*)`", message):
        field = f"{path}.{unknown[1]}".lstrip(".")
        return FieldError(
            field, "must not be there: no such key", "remove it, or correct its name; /docs lists the keys"
        )
    if absent := re.search(r"missing required field `(.*)`", message):
        return FieldError(f"{path}.{absent[1]}".lstrip("."), "must be given", "add it")
    rule = message.removeprefix("Expected ")
    return FieldError(path or "body", f"must be {rule}", "correct the value; /docs shows the shape", _value(body, path))


def _value(body: bytes, path: str) -> Any:
    """What the body has at a path; as far as the path is known: keys of free-form objects are not."""
    try:
        found = msgspec.json.decode(body)
    except _NOT_JSON:  # it goes wrong again further on
        return None
    for step in _STEP.finditer(path):
        if step["anything"]:
            break
        found = found[int(step["index"])] if step["index"] else found[step["key"]]
    return shown(found)
