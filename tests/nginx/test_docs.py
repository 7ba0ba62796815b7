"""What docs/nginx.md warns of does happen, and is as bad as it says and no worse."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.harness.echo import parse_echo
from tests.harness.protected import PROTECTED, Site, render_server
from tests.harness.raw_http import Reply, fetch
from tests.harness.standin import IDENTITY

pytestmark = pytest.mark.nginx

DOCUMENT = Path(__file__).parents[2] / "docs" / "nginx.md"
_NAMED = f"set $authd_app app; {PROTECTED}"
HTTP = (
    render_server(
        "app.example.com",
        f"""
    root {{directory}}/www;
    location / {{ {_NAMED} }}
    location /hole/ {{ {_NAMED} rewrite ^/hole/(.*)$ /unprotected/$1 last; }}
    location /unprotected/ {{ include authd/authd-identity.conf; proxy_pass http://{{app}}; }}
    location /ssi/ {{ ssi on; }}
    location /twice/ {{ {_NAMED} proxy_set_header Host other.example.com; }}
    location /late-page/ {{ {_NAMED} error_page 500 = @mine; }}
    location /early-page/ {{ error_page 500 =200 /maintenance; {_NAMED} }}
    location = /maintenance {{ return 200 "back soon"; }}
    location @mine {{ return 200 "mine"; }}
    location /nested/ {{
        {_NAMED}
        location /nested/inner/ {{ include authd/authd-identity.conf; proxy_pass http://{{app}}; }}
    }}
""",
    )
    + render_server(
        "whole.example.com",
        """
    include authd/authd-protect.conf;
    location / { include authd/authd-identity.conf; proxy_pass http://{app}; }
    location /own-page/ { error_page 404 /x; include authd/authd-identity.conf; proxy_pass http://{app}; }
""",
    )
    + render_server("closed.example.com", f"location / {{ {_NAMED} }}", before="return 444;")
    + render_server("closed-late.example.com", f"return 444; location / {{ {_NAMED} }}")
    + render_server(
        "proxied.example.com",
        f"location / {{ {_NAMED} }}",
        before="set_real_ip_from 127.0.0.1; real_ip_header CF-Connecting-IP;",
    )
)


@pytest.fixture(scope="module", autouse=True)
def files(module_site: Site) -> None:
    page = module_site.nginx.directory / "www/ssi/page.html"
    page.parent.mkdir(parents=True)
    page.write_text('<!--# include virtual="/x" -->')


def test_a_rewrite_to_an_unprotected_location_is_open(site: Site) -> None:
    assert site.get("app.example.com", "/hole/x").status == 200
    assert site.authd.count == 0


def test_a_subrequest_of_an_open_location_is_not_checked(site: Site) -> None:
    assert '"application": true' in site.get("app.example.com", "/ssi/page.html").text
    assert site.authd.count == 0


def test_a_header_that_the_identity_file_sets_too_is_sent_twice(site: Site) -> None:
    answer = site.get("app.example.com", "/twice/x", session="good")
    assert len(parse_echo(answer).get_all("Host")) == 2


@pytest.mark.parametrize(("target", "status"), [("/late-page/x", 503), ("/early-page/x", 200)])
def test_of_two_pages_for_500_the_first_counts_and_neither_opens(site: Site, target: str, status: int) -> None:
    site.authd.program(check=Reply(500))
    assert site.get("app.example.com", target, session="good").status == status
    assert site.application.count == 0


def test_an_error_page_below_ours_takes_the_login_away_and_lets_nobody_in(site: Site) -> None:
    assert site.get("whole.example.com", "/own-page/x").status == 401
    assert site.get("whole.example.com", "/own-page/x", session="denied").status == 403
    site.authd.program(check=Reply(500))
    assert site.get("whole.example.com", "/own-page/x", session="good").status == 500
    assert site.application.count == 0
    assert site.authd.challenges == []


def test_a_nested_location_inherits_the_protection_and_not_the_name(site: Site) -> None:
    assert site.get("app.example.com", "/nested/inner/x").status == 302
    assert site.authd.checks[0].get("X-Authd-App") is None


@pytest.mark.parametrize("target", ["/", "/cdn-cgi/access/authorized"])
def test_return_444_before_the_include_closes_all_and_after_it_all_but_the_endpoints(site: Site, target: str) -> None:
    request = f"GET {target} HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n".encode()
    assert site.send(request.replace(b"HOST", b"closed.example.com")) is None
    after = site.send(request.replace(b"HOST", b"closed-late.example.com"))
    assert (after is None) is (target == "/")
    assert site.application.count == 0


def test_behind_a_proxy_authd_hears_the_visitors_address_and_decisions_are_the_visitors_own(site: Site) -> None:
    site.authd.program(check=lambda request: Reply(200, (*IDENTITY, ("X-Accel-Expires", f"@{int(time.time()) + 9}"))))
    for address in ("192.0.2.1", "192.0.2.2", "192.0.2.1"):
        headers = [("CF-Connecting-IP", address), ("Cookie", "CF_AUTHORIZATION=good")]
        answer = fetch(site.port, "/x", host="proxied.example.com", headers=headers)
        assert parse_echo(answer).get("X-Forwarded-For") == address
    assert [check.get("X-Real-Ip") for check in site.authd.checks] == ["192.0.2.1", "192.0.2.2"]


def test_the_page_names_every_file_that_is_rendered(site: Site) -> None:
    text = DOCUMENT.read_text()
    for path in (site.nginx.directory / "authd").glob("*.conf"):
        short = path.name.replace("authd-identity-", "-").removesuffix(".conf")
        assert path.name in text or f"`{short}`" in text, path.name
