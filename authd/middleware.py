"""What holds for every request before a resource sees it, and for every error that a resource lets out."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any

import falcon
import falcon.asgi

from authd.audit import log_event
from authd.errors import IssuerUnavailableError, LoginError, MalformedRequestError, StoreError
from authd.model import Reason
from authd.resources.answers import Answers


class RefuseByDefault:
    """Every answer starts as 403: falcon's own default is 200, which nginx reads as "let in" (Authelia's
    CVE-2021-32637)."""

    async def process_request(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """See the class."""
        resp.status = falcon.HTTP_403
        resp.context.reference = (req.get_header("X-Request-Id") or "")[:64]


class ListenerSecret:
    """On a TCP listener, whoever is not nginx does not know the secret, and gets nothing but 403."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    async def process_request(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """See the class."""
        given = (req.get_header("X-Authd-Secret") or "").encode("latin-1", "replace")
        if not hmac.compare_digest(given, self._secret):
            resp.complete = True


class ErrorHandlers:
    """Turns what a resource raises into an answer. On the check, anything unforeseen is a 500: nginx refuses then."""

    def __init__(
        self, answers: Answers, *, on_outage: Callable[[StoreError | IssuerUnavailableError, str], None]
    ) -> None:
        """`on_outage` is told of each, with the path of the request."""
        self._answers = answers
        self._on_outage = on_outage

    def add_to(self, app: falcon.asgi.App[Any, Any]) -> None:
        """Register all of them, the broadest first: falcon asks the one that was added last first."""
        app.add_error_handler(Exception, self.answer_unforeseen)
        app.add_error_handler(falcon.HTTPError, self.answer_http_error)
        app.add_error_handler(MalformedRequestError, self.answer_malformed)
        app.add_error_handler(LoginError, self.answer_login_error)
        app.add_error_handler(StoreError, self.answer_store_error)
        app.add_error_handler(IssuerUnavailableError, self.answer_issuer_error)

    async def answer_unforeseen(
        self, req: falcon.asgi.Request, resp: falcon.asgi.Response, error: Exception, params: dict[str, Any]
    ) -> None:
        """A fault of ours: 500, and the trace in the log. The error's own words stay out: they may quote a token."""
        log_event("error.unhandled", level="error", exc_info=True, error=type(error).__name__, path=req.path)
        resp.status = falcon.HTTP_500
        self._answers.unforeseen(resp)

    async def answer_http_error(
        self, req: falcon.asgi.Request, resp: falcon.asgi.Response, error: falcon.HTTPError, params: dict[str, Any]
    ) -> None:
        """404, 405 and the like; never a 2xx."""
        resp.status = error.status
        resp.media = {"error": error.title}

    async def answer_malformed(
        self, req: falcon.asgi.Request, resp: falcon.asgi.Response, error: Exception, params: dict[str, Any]
    ) -> None:
        """nginx' headers could not be read: 400 for the visitor, and a line that says which."""
        log_event("request.malformed", level="warning", message=str(error), request_id=resp.context.reference)
        self._answers.malformed(resp, Reason.MALFORMED_REQUEST, as_page="text/html" in (req.get_header("Accept") or ""))

    async def answer_login_error(
        self, req: falcon.asgi.Request, resp: falcon.asgi.Response, error: LoginError, params: dict[str, Any]
    ) -> None:
        """A login that cannot go on, with a way to start again."""
        log_event(
            "login.failed", level="warning", reason=error.code, message=str(error), request_id=resp.context.reference
        )
        self._answers.login_failed(resp, error)

    async def answer_store_error(
        self, req: falcon.asgi.Request, resp: falcon.asgi.Response, error: StoreError, params: dict[str, Any]
    ) -> None:
        """An outage, told as one, with every cookie left alone."""
        self._on_outage(error, req.path)
        self._answers.outage(resp, "The place where sessions are kept does not answer just now.")

    async def answer_issuer_error(
        self,
        req: falcon.asgi.Request,
        resp: falcon.asgi.Response,
        error: IssuerUnavailableError,
        params: dict[str, Any],
    ) -> None:
        """The keys of the edge are missing: an outage, told as one."""
        self._on_outage(error, req.path)
        self._answers.outage(resp, "The place where people log in does not tell its keys just now.")
