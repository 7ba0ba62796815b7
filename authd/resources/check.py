"""`GET /auth`: nginx asks about a request, and is told yes or no. The only place in authd that answers 200 to that
question.

An ASGI application of its own, without falcon, whose part of this answer was larger than the decision's (ADR 0009). It
remembers what it answered to the very same request: then nothing is parsed, matched or decided again, and only what
can change by itself is looked at (policies, session, token, time). The server may ask for it by the request's bytes,
before it has parsed them (`answer_again`, ADR 0120), and for the bytes of a first answer (`answer`, ADR 0123).
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from time import perf_counter
from typing import Any

from authd.access import Access, Verdict
from authd.audit import DecisionLog, log_event
from authd.credentials import CheckRequest
from authd.errors import IssuerUnavailableError, MalformedRequestError, StoreError
from authd.frozen import quick_init
from authd.metrics import Metrics
from authd.model import Decision, Outcome, Reason
from authd.resources.identity_headers import render_identity_headers
from authd.resources.nginx_request import FROM_SESSION, NginxHeaders, parse_check_request

Scope = Mapping[str, Any]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]
RawHeaders = Sequence[tuple[bytes, bytes]]
# The bytes up to the request id if the server knows them, else the headers without it.
_Key = bytes | tuple[tuple[bytes, bytes], ...]

CHECK_PATH = "/auth"
_REQUEST_ID = b"x-request-id"
# As they go to nginx, a 200 around what is to be filled in: until when it holds, and the lines of who it is.
_LET_IN = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-accel-expires: %b\r\n%b\r\n"
_LOGIN = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nx-accel-expires: 0\r\n\r\n"
_DENIED = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nx-accel-expires: 0\r\n\r\n"
_FAULT = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n"
# An answer with its request takes some 4 kB; one that would take ten times that is not worth its place.
MAX_REMEMBERED = 4_000
MAX_REMEMBERED_BYTES = 8_000


@quick_init
@dataclass(frozen=True, slots=True)
class _Described:
    """What the log says of a request. The request itself is let go: its cookies are kilobytes."""

    client_ip: IPv4Address | IPv6Address
    method: str
    host: str
    raw_path: str
    claimed_application: str


@quick_init
@dataclass(frozen=True, slots=True)
class _Answered:
    """A request as the log has it (None if it could not be read), what was decided, and the headers for the
    application, as lines."""

    request: _Described | None
    verdict: Verdict
    identity: bytes


class Check:
    """Answers 200, 401 or 403. Whatever goes wrong is a 500, which nginx takes for a refusal."""

    def __init__(
        self,
        access: Access,
        decisions: DecisionLog,
        metrics: Metrics,
        *,
        on_outage: Callable[[StoreError | IssuerUnavailableError, str], None],
        listener_secret: str | None = None,
    ) -> None:
        self._access = access
        self._decisions = decisions
        self._metrics = metrics
        self._on_outage = on_outage
        self._listener_secret = listener_secret.encode() if listener_secret else None
        self._remembered: dict[_Key, _Answered] = {}

    async def __call__(self, scope: Scope, receive: object, send: Send) -> None:
        """One request. `scope["path"]` is CHECK_PATH."""
        answer = await self._answer(scope["headers"], None) if scope["method"] == "GET" else _DENIED
        status, headers = _split_answer(answer)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    async def answer(self, repeat_key: bytes, raw: RawHeaders) -> bytes:
        """The answer to a request that has these headers and nothing else, as it goes to nginx. It is remembered by
        `repeat_key`, the bytes of the request up to its id."""
        return await self._answer(raw, repeat_key)

    async def _answer(self, raw: RawHeaders, repeat_key: bytes | None) -> bytes:
        try:
            return await self._judge(raw, repeat_key)
        except (StoreError, IssuerUnavailableError) as error:
            self._on_outage(error, CHECK_PATH)
        except Exception as error:  # noqa: BLE001 - whatever it is, the answer is a refusal
            log_event("error.unhandled", level="error", exc_info=True, error=type(error).__name__, path=CHECK_PATH)
        return _FAULT

    async def _judge(self, raw: RawHeaders, repeat_key: bytes | None) -> bytes:
        started = perf_counter()
        if not self._is_nginx(raw):
            return _DENIED
        answered = None
        key: _Key
        if repeat_key is not None:
            key = repeat_key
        else:
            key = tuple(pair for pair in raw if pair[0] != _REQUEST_ID)
            is_single = len(raw) <= len(key) + 1
            answered = self._find(key) if is_single else None
        if answered is None:
            answered = await self._ask(raw)
            self._remember(key, answered)
        self._count(answered, started)
        # nginx sends it last, and the rest need not be looked at.
        self._log(answered, next((value for name, value in reversed(raw) if name == _REQUEST_ID), None))
        return self._render(answered)

    def answer_again(self, repeat_key: bytes, request_id: bytes) -> bytes | None:
        """The answer to these very bytes (all up to the request id), as it goes to nginx; None if it has to be found
        out anew, by the way through `__call__`. Asks nobody."""
        started = perf_counter()
        answered = self._find(repeat_key)
        if answered is None:
            return None
        self._count(answered, started)
        self._log(answered, request_id)
        return self._render(answered)

    def note_unreadable(self) -> None:
        """The server refused a check whose head its parser cannot read. It is counted, and not logged: the log is not
        a visitor's to fill."""
        self._metrics.count_decision("", Outcome.DENY, Reason.MALFORMED_REQUEST, 0.0)

    def _find(self, key: _Key) -> _Answered | None:
        answered = self._remembered.get(key)
        return answered if answered is not None and self._access.still_holds(answered.verdict) else None

    def _count(self, answered: _Answered, started: float) -> None:
        decision = answered.verdict.decision
        seconds = perf_counter() - started
        self._metrics.count_decision(decision.application_id or "", decision.outcome, decision.reason, seconds)

    def _is_nginx(self, raw: RawHeaders) -> bool:
        """On a TCP listener, whoever is not nginx does not know the secret."""
        if self._listener_secret is None:
            return True
        given = [value for name, value in raw if name == b"x-authd-secret"]
        return len(given) == 1 and hmac.compare_digest(given[0], self._listener_secret)

    async def _ask(self, raw: RawHeaders) -> _Answered:
        try:
            request = parse_check_request(NginxHeaders(raw))
        except MalformedRequestError:
            return _Answered(None, Verdict(Decision(Outcome.DENY, Reason.MALFORMED_REQUEST)), b"")
        verdict = await self._access.check(request)
        url = request.url
        described = _Described(
            request.facts.client_ip, request.method, url.host, url.raw_path, request.claimed_application
        )
        return _Answered(described, verdict, _render_identity(request, verdict))

    def _remember(self, key: _Key, answered: _Answered) -> None:
        """Only who was let in as somebody, and may be again: `still_holds` judges by the session."""
        verdict = answered.verdict
        if verdict.credential.verified is None or verdict.decision.outcome is not Outcome.ALLOW:
            return
        if verdict.renewal.issued:
            return  # for this one answer
        size = len(key) if isinstance(key, bytes) else sum(len(value) for _, value in key)
        if size > MAX_REMEMBERED_BYTES:
            return
        if len(self._remembered) >= MAX_REMEMBERED:
            self._remembered.pop(next(iter(self._remembered)))
        self._remembered[key] = answered

    def _render(self, answered: _Answered) -> bytes:
        outcome = answered.verdict.decision.outcome
        if outcome is not Outcome.ALLOW and outcome is not Outcome.BYPASS:
            return _LOGIN if outcome is Outcome.LOGIN else _DENIED
        until = self._access.cacheable_until(answered.verdict)
        expires = b"@%d" % until if until else b"0"
        return _LET_IN % (expires, answered.identity)  # the one line that lets somebody in

    def _log(self, answered: _Answered, request_id: bytes | None) -> None:
        verdict = answered.verdict
        if verdict.decision.outcome is Outcome.ALLOW:
            credential = verdict.credential
            key = (credential.session_id or credential.name, verdict.decision.application_id or "")
            self._decisions.allowed(key, lambda: _log_fields(answered, request_id))
        elif verdict.decision.outcome is not Outcome.BYPASS:
            self._decisions.refused(lambda: _log_fields(answered, request_id))


def _render_identity(request: CheckRequest, verdict: Verdict) -> bytes:
    """Tell the application who it is. A bypassed request has no identity, even if a token came with it.

    No header has a line break: an identity's are printable ASCII, a token is base64url.
    """
    credential, issued = verdict.credential, verdict.renewal.issued
    bearer, token = credential.identity or credential.machine, credential.token
    if bearer is None or token is None or verdict.decision.outcome is not Outcome.ALLOW:
        return b""
    headers = render_identity_headers(bearer)
    if issued:
        headers |= {"Cf-Access-Jwt-Assertion": issued.text, "X-Authd-Set-Cookie": issued.cookie}
    elif request.has_session_at_hand and token == request.nginx_session:
        headers |= {"X-Authd-Token-From": FROM_SESSION}
    else:
        headers |= {"Cf-Access-Jwt-Assertion": token}
    return "".join([f"{name}: {value}\r\n" for name, value in headers.items()]).encode("latin-1")


def _split_answer(answer: bytes) -> tuple[int, Headers]:
    """Status and headers, as ASGI wants them."""
    first, *lines = answer.removesuffix(b"\r\n\r\n").split(b"\r\n")
    pairs = (line.split(b": ", 1) for line in lines)
    return int(first.split(b" ")[1]), tuple((name.lower(), value) for name, value in pairs)


def _log_fields(answered: _Answered, request_id: bytes | None) -> dict[str, Any]:
    """The fields of the log line. No query: it may hold secrets of the application."""
    request, credential, decision = answered.request, answered.verdict.credential, answered.verdict.decision
    return {
        "outcome": decision.outcome.value,
        "reason": decision.reason.value,
        "app": decision.application_id,
        "policy": decision.policy_name,
        "rule": decision.rule,
        "email": credential.identity.email if credential.identity else None,
        "machine": credential.machine.name if credential.machine else None,
        "session": credential.session_id[:6] or None,
        "ip": str(request.client_ip) if request else None,
        "method": request.method if request else None,
        "host": request.host if request else None,
        "path": request.raw_path if request else None,
        "claimed_app": request.claimed_application or None if request else None,
        "request_id": request_id.decode("latin-1") if request_id is not None else None,
    }
