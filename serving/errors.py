"""What can go wrong while serving, and the only place that knows HTTP status codes.

    ServingError
    ├── InvalidRequest          the body or a header does not fit: every fault with field, value, message and fix
    ├── TooLarge                more candidates, requests or bytes than a limit allows
    ├── TooSlow                 a body that does not arrive in time
    ├── Overloaded              more requests than can be ranked: refused at the door, with the time to wait
    ├── DeadlineExceeded        no ranking within the time that the caller gave
    ├── NotReady                no verified model, or a feature store that does not fit it
    ├── NotConfigured           a route whose setting is not set
    ├── LogFull                 events arrive faster than the disk takes them
    ├── Unscorable              the model gives no finite score for these values
    ├── Unauthorized            no admin token, or a wrong one
    ├── AdminDisabled           admin routes on a server that was given no token
    ├── NotFound                no such model version or policy version
    ├── BundleRefused           a bundle that an admin asked for cannot be served
    ├── PolicyConflict          a policy has changed since the caller read it
    ├── PreconditionRequired    a change of an existing policy that does not say which version it changes
    └── PolicyStoreUnavailable  the policy store cannot be reached

Every error answers as `application/problem+json` (RFC 9457).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

logger = logging.getLogger(__name__)

OK = HTTPStatus.OK
OVERLOADED = HTTPStatus.SERVICE_UNAVAILABLE
ACCEPTED = HTTPStatus.ACCEPTED  # taken in; on disk a little later
PROBLEM_MEDIA_TYPE = "application/problem+json"
_MAX_SHOWN = 200  # characters of a refused value that an answer repeats


class FieldError(msgspec.Struct, frozen=True, omit_defaults=True):
    """One fault in a request: where it is, what was found, what the rule is, and how to mend it."""

    field: str
    message: str
    fix: str
    value: Any = None


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """Problem details as of RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldError] = []


class ServingError(Exception):
    """Base of every error that this server answers on purpose. The message is the `detail` that callers read."""

    errors: Sequence[FieldError] = ()


class InvalidRequest(ServingError):
    """The body, a path part or a header does not fit."""

    def __init__(self, *errors: FieldError) -> None:
        super().__init__("; ".join(f"`{error.field}` {error.message}" for error in errors[:3]))
        self.errors = errors


class TooLarge(ServingError):
    """More candidates, requests or bytes than a limit allows."""


class TooSlow(ServingError):
    """The body does not arrive in time."""


class Overloaded(ServingError):
    """More requests than can be ranked.

    Args:
        message: Why, and what to do.
        retry_after_seconds: When it is worth to try again.
    """

    def __init__(self, message: str, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.retry_after_seconds = max(1, retry_after_seconds)


class DeadlineExceeded(ServingError):
    """Nobody waits for this ranking any more: the time that the caller gave is over."""


class NotReady(ServingError):
    """No verified model is live, or the feature store does not fit the one that is."""


class NotConfigured(ServingError):
    """The route needs a setting that is not set."""


class LogFull(ServingError):
    """Events arrive faster than the disk takes them."""


class Unscorable(ServingError):
    """The model gives no finite score for the values at hand."""


class Unauthorized(ServingError):
    """The request carries no admin token, or a wrong one."""


class AdminDisabled(ServingError):
    """Admin routes on a server that was given no token."""


class NotFound(ServingError):
    """There is no such model version or policy version."""


class BundleRefused(ServingError):
    """A bundle that an admin asked for cannot be served."""


class PolicyConflict(ServingError):
    """The policy has changed since the caller read it."""


class PreconditionRequired(ServingError):
    """A change of an existing policy must name the version it changes."""


class PolicyStoreUnavailable(ServingError):
    """The policy store cannot be reached."""


_STATUS: Mapping[type[ServingError], HTTPStatus] = {
    InvalidRequest: HTTPStatus.UNPROCESSABLE_ENTITY,
    TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    TooSlow: HTTPStatus.REQUEST_TIMEOUT,
    Overloaded: HTTPStatus.SERVICE_UNAVAILABLE,
    DeadlineExceeded: HTTPStatus.GATEWAY_TIMEOUT,
    NotReady: HTTPStatus.SERVICE_UNAVAILABLE,
    NotConfigured: HTTPStatus.SERVICE_UNAVAILABLE,
    LogFull: HTTPStatus.SERVICE_UNAVAILABLE,
    Unscorable: HTTPStatus.UNPROCESSABLE_ENTITY,
    Unauthorized: HTTPStatus.UNAUTHORIZED,
    AdminDisabled: HTTPStatus.FORBIDDEN,
    NotFound: HTTPStatus.NOT_FOUND,
    BundleRefused: HTTPStatus.CONFLICT,
    PolicyConflict: HTTPStatus.PRECONDITION_FAILED,
    PreconditionRequired: HTTPStatus.PRECONDITION_REQUIRED,
    PolicyStoreUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}

_HEADERS: Mapping[type[ServingError], dict[str, str]] = {
    TooLarge: {"Connection": "close"},  # what is left of the body shall not be read
    TooSlow: {"Connection": "close"},
    Unauthorized: {"WWW-Authenticate": "Bearer"},
    NotReady: {"Retry-After": "1"},
    LogFull: {"Retry-After": "1"},
    PolicyStoreUnavailable: {"Retry-After": "1"},
}


def problem(error: ServingError) -> Problem:
    """The problem details of one of our errors."""
    kind = type(error)
    return _problem(_STATUS[kind], str(error), slug=_slug(kind.__name__), errors=error.errors)


def problem_response(error: ServingError) -> Response:
    """The HTTP answer to one of our errors."""
    headers = _HEADERS.get(type(error))
    if isinstance(error, Overloaded):
        headers = {"Retry-After": str(error.retry_after_seconds)}
    return _response(problem(error), headers)


def problem_bytes(error: ServingError) -> bytes:
    """The whole HTTP/1.1 answer to one of our errors, for a connection that never got as far as a request."""
    response = problem_response(error)
    status = f"HTTP/1.1 {response.status_code} {HTTPStatus(response.status_code).phrase}".encode()
    return b"\r\n".join([status, *(b": ".join(header) for header in response.raw_headers), b"", bytes(response.body)])


def shown(value: object) -> object:
    """A refused value as an answer may repeat it: scalars as they are, long or nested ones as shortened text."""
    if value is None or isinstance(value, (bool, float)) or (isinstance(value, int) and abs(value) < 2**63):
        return value
    text = readable(value if isinstance(value, str) else repr(value))
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}… ({len(text)} characters)"


def readable(text: str) -> str:
    """Text that UTF-8 can say: lone surrogates, which JSON escapes can smuggle in, are replaced."""
    return text.encode("utf-8", "replace").decode()


def install(app: FastAPI) -> None:
    """Make every error of `app` answer as problem details."""
    app.add_exception_handler(ServingError, _on_serving_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(Exception, _on_bug)


async def _on_serving_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ServingError)
    return problem_response(error)


async def _on_validation_error(_request: Request, error: Exception) -> Response:
    """What FastAPI and pydantic refuse on admin routes, in the words of this server."""
    assert isinstance(error, RequestValidationError)
    return problem_response(InvalidRequest(*(_field_error(fault) for fault in error.errors())))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    """What the framework itself answers: an unknown route, a wrong method."""
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    detail = f"{request.method} {request.url.path}: {error.detail}; the routes of this server are listed at /docs"
    return _response(_problem(status, detail), error.headers)


async def _on_bug(request: Request, error: Exception) -> Response:
    """Our own mistake: the details go to the log, not to the caller."""
    logger.error("unhandled error", exc_info=error, extra={"path": request.url.path})
    detail = "the server failed on this request; its log has the details"
    return _response(_problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail))


def _problem(status: HTTPStatus, detail: str, slug: str | None = None, errors: Sequence[FieldError] = ()) -> Problem:
    slug = slug or status.phrase.lower().replace(" ", "-")
    return Problem(f"urn:ranker:problem:{slug}", status.phrase, int(status), detail, list(errors))


def _response(content: Problem, headers: Mapping[str, str] | None = None) -> Response:
    body = msgspec.json.encode(content)
    return Response(body, content.status, headers=dict(headers or {}), media_type=PROBLEM_MEDIA_TYPE)


def _slug(name: str) -> str:
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("-")


def _field_error(fault: Mapping[str, Any]) -> FieldError:
    where = [readable(str(part)) for part in fault["loc"] if part != "body"]
    fix = {
        "extra_forbidden": "remove it, or correct its name",
        "missing": "add it",
        "json_invalid": "send one JSON object; JSON has no NaN or Infinity, use null",
    }.get(fault["type"], "see the schema of this route at /docs")
    value = None if fault["type"] in ("missing", "json_invalid") else shown(fault.get("input"))
    return FieldError(".".join(where) or "body", f"is refused: {fault['msg']}", fix, value)
