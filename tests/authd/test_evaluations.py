"""Evaluators, as real servers that answer well or badly: what they said counts, what they did not say never does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from authd.evaluations import FRESH_SECONDS
from authd.model import Outcome, Reason, Session
from authd.policy.decide import decide
from authd.policy.index import Application
from tests.authd.house import CONFIG, NOW, House, make_client, make_identity, make_request, make_session, with_cookie

KEY, OTHER_KEY = (generate_private_key(65537, 2048) for _ in range(2))


class Evaluator:
    """Says what `success` holds; `wrong` names what it does wrong. Remembers what it was asked."""

    def __init__(self) -> None:
        self.success: Any = True
        self.wrong = ""
        self.questions: list[dict[str, Any]] = []
        self.key_fetches = 0
        self.url = ""

    def answer(self, question: str) -> bytes:
        asked = jwt.decode(question, options={"verify_signature": False})
        self.questions.append(asked)
        claims = {"success": self.success, "nonce": asked["nonce"], "iat": NOW, "exp": NOW + 60}
        claims |= {"nonce": {"nonce": "x" * 32}, "expired": {"exp": NOW}, "no exp": {"exp": None}}.get(self.wrong, {})
        claims = {name: value for name, value in claims.items() if value is not None}
        key, headers = KEY, {"kid": "1"}
        if self.wrong == "other key":
            key = OTHER_KEY
        if self.wrong == "unknown key":
            headers = {"kid": "2"}
        token = jwt.encode(claims, key, algorithm="RS256", headers=headers)
        if self.wrong == "none":
            token = jwt.encode(claims, None, algorithm="none", headers=headers)
        if self.wrong == "html":
            return b"<html>"
        return json.dumps({"token": question if self.wrong == "echo" else token}).encode()

    def keys(self) -> bytes:
        self.key_fetches += 1
        public = jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key(), as_dict=True)
        return json.dumps({"keys": [{**public, "kid": "1", "alg": "RS256", "use": "sig"}]}).encode()


@pytest.fixture
def evaluator() -> Iterator[Evaluator]:
    state = Evaluator()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = state.answer(body["token"])
            self._send({"status": 500, "redirect": 302}.get(state.wrong, 200), answer)

        def do_GET(self) -> None:
            self._send(200, state.keys())

        def _send(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Location", "http://127.0.0.1:1/")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Nothing to say."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield state
    server.shutdown()
    server.server_close()


@pytest.fixture
def application(house: House, evaluator: Evaluator) -> Application:
    rule = f"{{external_evaluation: {{evaluate_url: {evaluator.url}/evaluate, keys_url: {evaluator.url}/keys}}}}"
    house.load(
        CONFIG
        + f"""
  - id: on-call
    domains: [on-call.example.com]
    policies:
      - {{name: Whoever is on call, decision: allow, include: [{{group: evaluated}}]}}
groups:
  - name: evaluated
    include: [{rule}]
"""
    )
    return house.index.get_application("on-call")


@pytest.fixture
async def session(house: House) -> Session:
    session = make_session(identity=make_identity(groups=("staff",)))
    await house.sessions.add(session)
    return session


async def ask(house: House, session: Session, application: Application) -> Outcome:
    completed = await house.login._evaluations.complete(session, application)
    return decide(application, make_client().facts.about(completed.identity)).outcome


async def test_what_the_evaluator_says_counts_and_it_is_asked_what_it_needs(
    house: House, evaluator: Evaluator, application: Application, session: Session
) -> None:
    assert await ask(house, session, application) is Outcome.ALLOW

    (question,) = evaluator.questions
    assert question["iss"] == "https://auth.example.com"
    assert question["aud"] == f"{evaluator.url}/evaluate"
    assert question["type"] == "external_evaluation"
    assert question["exp"] - question["iat"] == 60
    assert question["identity"]["email"] == "alice@example.com"
    assert question["identity"]["groups"] == ["staff"]
    evaluator.success = False
    house.clock.now = NOW + FRESH_SECONDS - 1
    found = await house.sessions.find(session.id)
    assert found is not None
    assert await ask(house, found, application) is Outcome.ALLOW, "five tabs are one question"
    assert len(evaluator.questions) == 1


@pytest.mark.parametrize(
    "wrong",
    ["nonce", "expired", "no exp", "other key", "unknown key", "none", "html", "echo", "status", "redirect"],
)
async def test_what_was_not_said_lets_nobody_in_and_is_not_remembered(
    house: House, evaluator: Evaluator, application: Application, session: Session, wrong: str
) -> None:
    evaluator.wrong = wrong

    assert await ask(house, session, application) is Outcome.DENY

    found = await house.sessions.find(session.id)
    assert found is not None
    assert found.identity.evaluations == {}
    evaluator.wrong = ""
    assert await ask(house, found, application) is Outcome.ALLOW, "asked again the next time"


@pytest.mark.parametrize("success", [False, "true", 1, None])
async def test_only_true_is_a_yes(
    house: House, evaluator: Evaluator, application: Application, session: Session, success: Any
) -> None:
    evaluator.success = success

    assert await ask(house, session, application) is Outcome.DENY


async def test_an_evaluator_that_is_gone_spares_nobody_an_exclusion(
    house: House, evaluator: Evaluator, session: Session
) -> None:
    rule = "{external_evaluation: {evaluate_url: 'http://127.0.0.1:9/e', keys_url: 'http://127.0.0.1:9/k'}}"
    policies = f"[{{name: P, decision: allow, include: [{{everyone: true}}], exclude: [{rule}]}}]"
    house.load(CONFIG + f"  - {{id: x, domains: [x.example.com], policies: {policies}}}\n")

    assert await ask(house, session, house.index.get_application("x")) is Outcome.DENY


async def test_a_rule_that_is_newer_than_the_login_leads_through_the_team_host(
    house: House, evaluator: Evaluator, application: Application, session: Session
) -> None:
    token = house.issue(session, "on-call")
    request = make_request("https://on-call.example.com/", **with_cookie(token))
    decision = (await house.access.check(request)).decision
    assert (decision.outcome, decision.reason) == (Outcome.LOGIN, Reason.EVALUATION_MISSING)

    await house.login._evaluations.complete(session, application)

    assert (await house.access.check(request)).decision.outcome is Outcome.ALLOW
    assert len(evaluator.questions) == 1, "no request waits for an evaluator"


async def test_a_question_opens_nothing(
    house: House, evaluator: Evaluator, application: Application, session: Session
) -> None:
    question = house.tokens.issue_evaluation_token({}, evaluate_url=application.aud, nonce="n")
    for way in (with_cookie(question), {"access_token": question}, {"authorization": f"Bearer {question}"}):
        request = make_request("https://on-call.example.com/", **way)
        assert (await house.access.check(request)).decision.outcome is Outcome.LOGIN
