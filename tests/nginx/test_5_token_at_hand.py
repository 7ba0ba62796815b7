"""A token that nginx has is not sent to it again (docs/adr/0122): what the application is shown is what authd was asked
about, byte for byte, and nothing that it was not asked about.

The stand-in takes the offer as authd does, but for whatever stands in the cookie: here the bytes count, not who signed
them.
"""

from __future__ import annotations

import pytest

from authd.nginx_files import NginxSettings
from tests.harness.echo import parse_echo
from tests.harness.http2 import send_http2
from tests.harness.protected import PROTECTED, Site, render_server
from tests.harness.raw_http import Message, Reply

pytestmark = pytest.mark.nginx

NAME = "Cf-Access-Jwt-Assertion"
HOST = "app.example.com"
SETTINGS = NginxSettings(bound_cookies=(("bound", "CF_AUTHORIZATION_bound"),), scopes=((HOST, "host"),))
_LOCATIONS = f"""
    location / {{ set $authd_app app; {PROTECTED} }}
    location /bound/ {{ set $authd_app bound; {PROTECTED} }}
    location /cookie/ {{ set $authd_app app; {PROTECTED} include authd/authd-cookie.conf; }}
    location /outer/ {{
        set $authd_app app;
        {PROTECTED}
        location /outer/bound/ {{ set $authd_app bound; include authd/authd-identity.conf; proxy_pass http://{{app}}; }}
    }}
    location /both/ {{ set $authd_app app; include authd/authd-protect.conf; try_files /missing /bound$uri; }}
    location /back/ {{ set $authd_app bound; include authd/authd-protect.conf; try_files /missing /to$uri; }}
    location /tries/ {{ set $authd_app app; include authd/authd-protect.conf; try_files /missing @tried; }}
    location @tried {{ include authd/authd-identity.conf; proxy_pass http://{{app}}; }}
    location /page/ {{ set $authd_app app; include authd/authd-protect.conf; error_page 404 = @tried; root {{directory}}/none; }}
    location /unasked/ {{ include authd/authd-identity.conf; proxy_pass http://{{app}}; }}
    location /then-unasked/ {{ try_files /missing /unasked$uri; }}
"""  # noqa: E501
HTTP = render_server(HOST, _LOCATIONS) + render_server(
    "h2.example.com", _LOCATIONS, listen="127.0.0.1:{http2_port} http2"
)


def take_the_offer(request: Message) -> Reply:
    """As authd answers: 200 only to a session, and a bypass names nobody."""
    assert request.get("X-Authd-Token-From") == "session"
    session = request.get("X-Authd-Session") or ""
    if session.startswith("open"):
        return Reply(200, (("X-Accel-Expires", "0"),))
    if session.startswith("renew"):
        renewed = ((NAME, "the.renewed.token"), ("X-Authd-Set-Cookie", "CF_AUTHORIZATION=the.renewed.token"))
        return Reply(200, (*renewed, ("X-Authd-User", "ada"), ("X-Accel-Expires", "0")))
    if session.startswith("good"):
        return Reply(200, (("X-Authd-Token-From", "session"), ("X-Authd-User", session), ("X-Accel-Expires", "0")))
    return Reply(401)


def shown(site: Site, target: str, *cookies: str, headers: tuple[tuple[str, str], ...] = ()) -> list[str]:
    """What the application is told as the token; empty if it is told none."""
    site.forget()
    site.authd.program(check=take_the_offer)
    lines = [("Cookie", line) for line in cookies]
    request = parse_echo(site.get(HOST, target, headers=[*headers, *lines]))
    return request.get_all(NAME)


ODD_COOKIES = [
    ("CF_AUTHORIZATION=good1",),
    ("CF_AUTHORIZATION=good1", "CF_AUTHORIZATION=good2"),
    ("CF_AUTHORIZATION=good1; CF_AUTHORIZATION=good2",),
    ("CF_AUTHORIZATION=good1; cf_authorization=good2",),
    ("cf_Authorization=good1; CF_AUTHORIZATION=good2",),
    ("a=b,CF_AUTHORIZATION=good1; CF_AUTHORIZATION=good2",),
    ("CF_AUTHORIZATION=good1,CF_AUTHORIZATION=good2",),
    ("CF_AUTHORIZATION =good1; CF_AUTHORIZATION=good2",),
    ("CF_AUTHORIZATION= good1 ; CF_AUTHORIZATION=good2",),
    ("CF_AUTHORIZATION=good1\t;\tCF_AUTHORIZATION=good2",),
    ("a=b;\tCF_AUTHORIZATION=good1; CF_AUTHORIZATION=good2",),
    ('CF_AUTHORIZATION=good"1"; CF_AUTHORIZATION="good2"',),
    ("CF_AUTHORIZATION=good1\xff; CF_AUTHORIZATION=good2",),
    ("CF_AUTHORIZATION=good$host; CF_AUTHORIZATION=good2",),
    ("CF_AUTHORIZATION=good%0d%0aX-Authd-User:%20eve",),
    ("CF_AUTHORIZATION_bound=good2; CF_AUTHORIZATION=good1",),
]


@pytest.mark.parametrize("cookies", ODD_COOKIES)
@pytest.mark.parametrize("target", ["/x", "/cookie/x", "/tries/x", "/page/x", "/bound/x", "/outer/x", "/outer/bound/x"])
def test_the_application_is_shown_what_authd_was_asked_about(site: Site, target: str, cookies: tuple[str, ...]) -> None:
    site.forget()
    site.authd.program(check=take_the_offer)
    answer = site.get(HOST, target, headers=[(NAME, "forged"), *(("Cookie", line) for line in cookies)])

    asked = site.authd.checks[-1].get("X-Authd-Session")
    if site.application.count == 0:
        assert not (asked or "").startswith("good")
        return
    request = parse_echo(answer)
    assert request.get_all(NAME) == [asked]
    assert request.get_all("X-Authd-User") == [asked]


def test_a_request_that_is_checked_twice_shows_the_second_applications_own(site: Site) -> None:
    both = "CF_AUTHORIZATION=good1; CF_AUTHORIZATION_bound=good2"
    assert shown(site, "/both/x", both) == ["good2"]
    assert [request.get("X-Authd-Session") for request in site.authd.checks] == ["good1", "good2"]
    assert shown(site, "/back/x", both) == ["good1"]
    assert [request.get("X-Authd-Session") for request in site.authd.checks] == ["good2", "good1"]


def test_nobody_is_shown_where_nobody_was_named(site: Site) -> None:
    forged = ((NAME, "forged"), ("X-Authd-Token-From", "session"))
    for target in ("/x", "/cookie/x", "/tries/x", "/page/x"):
        assert shown(site, target, "CF_AUTHORIZATION=open", headers=forged) == [], target
    for target in ("/unasked/x", "/then-unasked/x"):
        assert shown(site, target, "CF_AUTHORIZATION=good1", headers=forged) == [], target
    # A bypass after somebody was named, and the other way round.
    assert shown(site, "/both/x", "CF_AUTHORIZATION=good1; CF_AUTHORIZATION_bound=open") == []
    assert shown(site, "/both/x", "CF_AUTHORIZATION=open; CF_AUTHORIZATION_bound=good2") == ["good2"]


def test_a_renewed_token_is_shown_instead_of_the_cookie(site: Site) -> None:
    assert shown(site, "/x", "CF_AUTHORIZATION=renew") == ["the.renewed.token"]
    assert shown(site, "/both/x", "CF_AUTHORIZATION=renew; CF_AUTHORIZATION_bound=good2") == ["good2"]


def test_a_kept_decision_shows_each_visitor_their_own(site: Site) -> None:
    def keep(request: Message) -> Reply:
        answer = take_the_offer(request)
        headers = tuple((name, "5" if name == "X-Accel-Expires" else value) for name, value in answer.headers)
        return Reply(answer.status, headers)

    site.authd.program(check=keep)
    for _ in range(3):
        for session in ("good1", "good2", "good1.", "Good1"):
            answer = site.get(HOST, "/x", session=session)
            if session == "Good1":
                assert site.application.last.get(NAME) != session
                continue
            request = parse_echo(answer)
            assert (request.get_all(NAME), request.get_all("X-Authd-User")) == ([session], [session])
    assert [request.get("X-Authd-Session") for request in site.authd.checks].count("good1") == 1


@pytest.mark.parametrize(
    "fields",
    [
        [("cookie", "a=b"), ("cookie", "CF_AUTHORIZATION=good1"), ("cookie", "CF_AUTHORIZATION=good2")],
        [("cookie", "CF_AUTHORIZATION=good1"), ("cookie", "c=d"), (NAME.lower(), "forged")],
        [("cookie", "CF_AUTHORIZATION=good"), ("cookie", "1; CF_AUTHORIZATION=good2")],
        [(NAME.lower(), "forged"), ("cookie", "CF_AUTHORIZATION=good1;"), (NAME.lower(), "forged-too")],
    ],
)
def test_cookies_in_several_fields_of_http2_are_one(site: Site, fields: list[tuple[str, str]]) -> None:
    site.authd.program(check=take_the_offer)
    pseudo = [(":method", "GET"), (":scheme", "http"), (":authority", "h2.example.com"), (":path", "/x")]
    assert send_http2(site.http2_port, [*pseudo, *fields]) == "answered"

    asked = site.authd.checks[-1].get("X-Authd-Session")
    assert asked is not None
    assert asked.startswith("good")
    assert site.application.last.get_all(NAME) == [asked]
