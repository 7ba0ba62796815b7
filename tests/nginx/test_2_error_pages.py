"""Error pages and the challenge (reference/nginx-contract.md, section 2)."""

from __future__ import annotations

import json

import pytest

from tests.harness.nginx import NginxRefusedError, check_nginx
from tests.harness.protected import PROTECTED, Site, render_server
from tests.harness.raw_http import Reply

pytestmark = pytest.mark.nginx

_NAMED = f"set $authd_app app; {PROTECTED}"

HTTP = (
    "\nerror_page 404 /never-from-http-level;\n"
    + render_server(
        "app.example.com",
        f"""
    root {{directory}};
    location / {{ {_NAMED} }}
    location /intercepting/ {{ {_NAMED} proxy_intercept_errors on; }}
    location /denied/ {{ {_NAMED} deny all; }}
    location /limited/ {{ {_NAMED} limit_except GET {{ deny all; }} }}
    location /basic/ {{ {_NAMED} auth_basic "nginx"; auth_basic_user_file {{directory}}/users; }}
    location /returned/ {{ {_NAMED} return 403; }}
    location /directory/ {{ set $authd_app app; include authd/authd-protect.conf; root {{directory}}; }}
    location /down/ {{ set $authd_app app; include authd/authd-protect.conf; proxy_pass http://127.0.0.1:1; }}
    location /loop/ {{ set $authd_app app; include authd/authd-protect.conf; try_files /x /loop/y; }}
""",
    )
    + render_server(
        "whole.example.com",
        """
    include authd/authd-protect.conf;
    root {directory};
    location / { include authd/authd-identity.conf; proxy_pass http://{app}; }
    location /denied/ { deny all; }
    location /basic/ { auth_basic "nginx"; auth_basic_user_file {directory}/users; }
    location /directory/ { }
""",
    )
    + render_server(
        "own-pages.example.com",
        f"""
    location / {{ {_NAMED} error_page 404 /missing; proxy_intercept_errors on; }}
    location = /missing {{ return 200 "the operator's page"; }}
""",
    )
)
_FAILURES = {
    "500": Reply(500),
    "503": Reply(503),
    "404": Reply(404),
    "302": Reply(302, (("Location", "/"),)),
    "204 with a redirect inside nginx": Reply(401, (("X-Accel-Redirect", "/.authd/never"),)),
    "no answer": Reply(drop=True),
}


@pytest.fixture(scope="module", autouse=True)
def files(module_site: Site) -> None:
    (module_site.nginx.directory / "directory").mkdir()
    (module_site.nginx.directory / "users").write_text("ada:{PLAIN}secret\n")


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "OPTIONS", "FOO"])
def test_2_1_the_challenge_sees_the_original_request(site: Site, method: str) -> None:
    body = b"" if method in ("POST", "PUT") else None
    site.get("app.example.com", "/a/b?c=%26+d", method=method, headers=[("Accept", "text/x")], body=body)
    [challenge] = site.authd.challenges
    assert challenge.get("X-Original-Method") == method
    assert challenge.get("X-Original-Url") == f"http://app.example.com:{site.port}/a/b?c=%26+d"
    assert challenge.get("Accept") == "text/x"


@pytest.mark.parametrize("status", [200, 302, 303, 400, 401, 403, 404, 429, 503])
def test_2_1_the_challenges_answer_passes_unchanged(site: Site, status: int) -> None:
    headers = (
        ("Location", "https://auth.example.com/x"),
        ("Set-Cookie", "a=1; Path=/"),
        ("Set-Cookie", "b=2; Path=/"),
        ("Cache-Control", "no-store"),
        ("Content-Type", "application/json"),
    )
    site.authd.program(challenge=Reply(status, headers, b'{"from": "authd"}'))
    answer = site.get("app.example.com", "/x")
    assert (answer.status, answer.body) == (status, b'{"from": "authd"}')
    assert set(headers) <= set(answer.headers)


@pytest.mark.parametrize("target", ["/metrics", "/auth", "/healthz", "/team/callback", "/%2fmetrics"])
def test_2_2_the_visitors_path_never_arrives_as_authds(site: Site, target: str) -> None:
    site.get("app.example.com", target)
    assert [request.target for request in site.authd.seen] == ["/auth", "/challenge"]


def test_2_2_a_proxy_pass_with_a_path_is_refused_in_a_named_location(tmp_path: object) -> None:
    """Why the challenge is reached by a rewrite."""
    with pytest.raises(NginxRefusedError, match="cannot have URI part"):
        check_nginx(tmp_path, "server { location @x { proxy_pass http://127.0.0.1:1/challenge; } }")


def test_2_3_www_authenticate_comes_once_and_from_the_challenge(site: Site) -> None:
    site.authd.program(
        check=Reply(401, (("WWW-Authenticate", "Check"),)),
        challenge=Reply(401, (("WWW-Authenticate", "Challenge"),)),
    )
    # nginx adds the check's own: the real authd sends none in its check.
    assert "Challenge" in site.get("app.example.com", "/x").get_all("WWW-Authenticate")
    site.authd.program(check=Reply(401))
    assert site.get("app.example.com", "/x").get_all("WWW-Authenticate") == ["Challenge"]


@pytest.mark.parametrize("status", [401, 403, 404, 500, 502, 503])
def test_2_4_the_applications_own_errors_are_untouched(site: Site, status: int) -> None:
    answer = site.get("app.example.com", f"/status/{status}", session="good")
    assert (answer.status, answer.text) == (status, "the application's own answer")
    assert site.authd.challenges == []


@pytest.mark.parametrize(
    ("target", "method", "status"),
    [("/denied/x", "GET", 403), ("/limited/x", "POST", 403), ("/returned/", "GET", 403), ("/directory/", "GET", 403)],
)
def test_2_5_nginx_own_refusals_do_not_ask_anybody_to_log_in(site: Site, target: str, method: str, status: int) -> None:
    body = b"" if method == "POST" else None
    answer = site.get("app.example.com", target, method=method, session="good", body=body)
    assert answer.status == status
    assert b"nginx" in answer.body
    assert site.authd.challenges == []
    assert site.application.count == 0


def test_2_5_basic_authentication_keeps_its_own_401(site: Site) -> None:
    answer = site.get("app.example.com", "/basic/x", session="good")
    assert (answer.status, answer.get("WWW-Authenticate")) == (401, 'Basic realm="nginx"')
    assert site.authd.challenges == []


@pytest.mark.parametrize(("target", "status"), [("/denied/x", 403), ("/directory/", 403), ("/basic/x", 401)])
def test_2_5_so_it_is_where_the_whole_server_is_protected(site: Site, target: str, status: int) -> None:
    """Where our error pages are inherited by the locations that carry them out, too: no loop."""
    answer = site.get("whole.example.com", target, session="good")
    assert (answer.status, b"nginx" in answer.body) == (status, True)
    assert site.authd.challenges == []


@pytest.mark.parametrize("target", ["/intercepting/status/401", "/intercepting/status/403"])
def test_2_5_an_intercepted_refusal_of_the_application_is_not_authds(site: Site, target: str) -> None:
    """proxy_intercept_errors on: the check said 200, so the application's 401 asks nobody to log in."""
    site.application.handler, echo = (lambda request: Reply(int(request.target[-3:]))), site.application.handler
    try:
        assert site.get("app.example.com", target, session="good").status == int(target[-3:])
    finally:
        site.application.handler = echo
    assert site.authd.challenges == []


@pytest.mark.parametrize("failure", _FAILURES)
def test_2_7_whatever_a_broken_authd_answers_nobody_gets_in_and_the_page_is_nginx_own(site: Site, failure: str) -> None:
    site.authd.program(check=_FAILURES[failure])
    answer = site.get("app.example.com", "/x", session="good")
    assert site.application.count == 0
    if failure.startswith("204"):
        assert answer.status == 302
        return
    assert (answer.status, answer.get("Retry-After"), answer.get("Cache-Control")) == (503, "5", "no-store")
    assert answer.get("Content-Type") == "text/html; charset=utf-8"
    assert "The login service does not answer" in answer.text


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [("application/json", "application/json"), ("text/html, application/json", "text/html; charset=utf-8")],
)
@pytest.mark.parametrize("target", ["/x", "/style.css", "/data.json"])
def test_2_7_the_page_has_its_own_type_whatever_was_asked_for(
    site: Site, target: str, accept: str, content_type: str
) -> None:
    site.authd.program(check=Reply(500))
    answer = site.get("app.example.com", target, headers=[("Accept", accept)])
    assert (answer.status, answer.get("Content-Type")) == (503, content_type)
    if content_type == "application/json":
        assert json.loads(answer.body)["error"] == "unavailable"


def test_2_7_an_application_that_is_down_stays_a_502(site: Site) -> None:
    assert site.get("app.example.com", "/down/x", session="good").status == 502


def test_2_7_nginx_own_500_is_not_called_an_outage_of_authd(site: Site) -> None:
    """try_files that leads back to itself ends in nginx' 500 after the check has said 200."""
    answer = site.get("app.example.com", "/loop/x", session="good")
    assert (answer.status, answer.get("Retry-After")) == (500, None)


@pytest.mark.parametrize("reply", [Reply(drop=True), Reply(500), Reply(401)])
def test_2_8_a_challenge_that_fails_ends_in_the_page_too(site: Site, reply: Reply) -> None:
    site.authd.program(challenge=reply)
    answer = site.get("app.example.com", "/x")
    assert answer.status == (503 if reply.drop else reply.status)
    assert (answer.get("Retry-After") == "5") is reply.drop
    assert site.application.count == 0


@pytest.mark.parametrize("session", ["", "denied"])
def test_2_10_an_error_page_beside_ours_keeps_both(site: Site, session: str) -> None:
    """Included at the same level as the operator's own error_page."""
    expected = 403 if session else 302
    assert site.get("own-pages.example.com", "/x", session=session).status == expected


def test_2_11_a_post_stays_a_post(site: Site) -> None:
    site.get("app.example.com", "/x", method="POST", body=b"field=value")
    [challenge] = site.authd.challenges
    assert (challenge.method, challenge.get("X-Original-Method")) == ("GET", "POST")
    assert challenge.body == b""
