"""The decision cache: what is kept, for how long, and for whom (reference/nginx-contract.md, section 4)."""

from __future__ import annotations

import time

import pytest

from authd.nginx_files import NginxSettings
from tests.harness.echo import parse_echo
from tests.harness.protected import PROTECTED, Site, render_server
from tests.harness.raw_http import Message, Reply, fetch
from tests.harness.standin import IDENTITY

pytestmark = pytest.mark.nginx

SETTINGS = NginxSettings(
    scopes=(("host.example.com", "host"), ("path.example.com", "path"), ("*.wild.example.com", "host")),
    bound_cookies=(("wiki", "CF_AUTHORIZATION_1a2b3c4d"),),
)
_SERVER = f"""
    location / {{ set $authd_app app; {PROTECTED} }}
    location /other/ {{ set $authd_app other; {PROTECTED} }}
    location /wiki/ {{ set $authd_app wiki; {PROTECTED} }}
    location /first/ {{ set $authd_app app; include authd/authd-protect.conf; try_files /none /wiki/second; }}
"""
HTTP = "".join(render_server(name, _SERVER) for name in ("host.example.com", "path.example.com", "*.example.com"))
_number = iter(range(1_000_000))


def allow(*headers: tuple[str, str]) -> Reply:
    return Reply(200, (*IDENTITY, *headers))


def until(seconds: float) -> tuple[str, str]:
    return ("X-Accel-Expires", f"@{int(time.time() + seconds)}")


# Stand for `until(9)` and `until(-1)` at the time of the test.
SOON, PAST = ("X-Accel-Expires", "soon"), ("X-Accel-Expires", "past")


def count_checks(site: Site, *, session: str = "", times: int = 3, host: str = "host.example.com") -> int:
    """How often authd is asked in some equal requests that no earlier test has made."""
    session = session or f"good{next(_number)}"
    before = len(site.authd.checks)
    for _ in range(times):
        site.get(host, "/x", session=session)
    return len(site.authd.checks) - before


@pytest.mark.parametrize(
    ("headers", "checks"),
    [
        ((), 3),
        ((("X-Accel-Expires", "0"),), 3),
        ((("X-Accel-Expires", "9"),), 1),
        ((SOON,), 1),
        ((PAST,), 3),
        ((("Cache-Control", "max-age=60"),), 3),
        ((("Expires", "Thu, 31 Dec 2099 23:59:59 GMT"),), 3),
        ((("Cache-Control", "no-store"), SOON), 1),
        ((SOON, ("Cache-Control", "no-store")), 1),
        ((SOON, ("Cache-Control", "no-cache, max-age=0")), 1),
        ((("X-Accel-Expires", "0"), ("Cache-Control", "max-age=60")), 3),
    ],
)
def test_4_1_x_accel_expires_is_the_only_word(site: Site, headers: tuple[tuple[str, str], ...], checks: int) -> None:
    times = {SOON: until(9), PAST: until(-1)}
    site.authd.program(check=allow(*(times.get(header, header) for header in headers)))
    assert count_checks(site) == checks


@pytest.mark.parametrize("header", [("Set-Cookie", "a=1"), ("Vary", "*")])
def test_4_2_an_answer_with_a_cookie_or_vary_star_is_never_kept(site: Site, header: tuple[str, str]) -> None:
    site.authd.program(check=allow(until(9), header))
    assert count_checks(site) == 3


@pytest.mark.parametrize("status", [201, 204, 401, 403, 404, 500, 503])
def test_4_3_nothing_but_a_200_is_kept(site: Site, status: int) -> None:
    site.authd.program(check=Reply(status, (until(9),)))
    assert count_checks(site) == 3


def test_4_3_a_200_of_the_second_try_is_not_kept(site: Site) -> None:
    replies = iter([Reply(drop=True), *[allow(until(9))] * 3])
    site.authd.program(check=lambda request: next(replies))
    # The first request is tried twice, the second is asked again and kept.
    assert count_checks(site) == 3


def test_4_3_of_a_request_that_is_checked_twice_each_answer_is_judged_by_its_own_tries(site: Site) -> None:
    """The first check succeeds at once and is kept; the second needs two tries and is not."""
    kept = allow(until(9))
    replies = iter([kept, Reply(drop=True), kept, kept])
    site.authd.program(check=lambda request: next(replies))
    cookies = [("Cookie", f"CF_AUTHORIZATION=good{next(_number)}")]
    for _ in range(2):
        assert site.get("path.example.com", "/first/x", headers=cookies).status == 200
    assert [check.get("X-Authd-App") for check in site.authd.checks] == ["app", "wiki", "wiki", "wiki"]


def test_4_4_a_decision_ends_when_authd_said(site: Site) -> None:
    """`@<now>` lasts to the end of this second; a plain "1" was measured to last up to two."""
    site.authd.program(check=lambda request: allow(until(0)))
    session = f"good{next(_number)}"
    time.sleep(1 - time.time() % 1 + 0.05)
    assert count_checks(site, session=session) == 1
    time.sleep(1 - time.time() % 1 + 0.05)
    assert count_checks(site, session=session, times=1) == 1


@pytest.mark.parametrize(
    ("cookie", "session"),
    [
        ("CF_AUTHORIZATION=good", "good"),
        ("a=b; CF_AUTHORIZATION=good; c=d", "good"),
        ("a=b;\tCF_AUTHORIZATION=good", None),
        ("CF_Authorization=first; CF_AUTHORIZATION=second", "first"),
        ("CF_AUTHORIZATION=; CF_AUTHORIZATION=good", None),
        ("x=y,CF_AUTHORIZATION=good", "good"),
        ('CF_AUTHORIZATION="good"', '"good"'),
        ("xCF_AUTHORIZATION=good", None),
        ("CF_AUTHORIZATION_1a2b3c4d=good", None),
    ],
)
def test_4_6_authd_gets_nginx_own_reading_of_the_session_and_all_cookies(
    site: Site, cookie: str, session: str | None
) -> None:
    """With a tab before the name, a Python parser finds the cookie that nginx does not have in the key."""
    site.get("host.example.com", "/x", headers=[("Cookie", cookie)])
    [check] = site.authd.checks
    assert (check.get("X-Authd-Session"), check.get("Cookie")) == (session, cookie)


def test_4_6_an_application_that_is_bound_to_a_path_has_a_cookie_of_its_own(site: Site) -> None:
    cookies = [("Cookie", "CF_AUTHORIZATION=whole; CF_AUTHORIZATION_1a2b3c4d=bound")]
    for target, session in (("/x", "whole"), ("/wiki/x", "bound"), ("/other/x", "whole")):
        site.get("path.example.com", target, headers=cookies)
        assert site.authd.checks[-1].get("X-Authd-Session") == session


def test_4_6_a_request_that_is_checked_twice_has_each_applications_own_session(site: Site) -> None:
    cookies = [("Cookie", "CF_AUTHORIZATION=good; CF_AUTHORIZATION_1a2b3c4d=good-bound")]
    assert site.get("path.example.com", "/first/x", headers=cookies).status == 200
    asked = [(check.get("X-Authd-App"), check.get("X-Authd-Session")) for check in site.authd.checks]
    assert asked == [("app", "good"), ("wiki", "good-bound")]


def test_4_6_nobody_gets_the_decision_of_somebody_with_the_tab_if_authd_keeps_the_rule(site: Site) -> None:
    def check(request: Message) -> Reply:
        found = "good" in (request.get("Cookie") or "")
        keyed = "good" in (request.get("X-Authd-Session") or "")
        return allow(until(9) if keyed else ("X-Accel-Expires", "0")) if found else Reply(401)

    site.authd.program(check=check)
    tab = [("Cookie", "a=b;\tCF_AUTHORIZATION=good")]
    assert site.get("host.example.com", "/x", headers=tab).status == 200
    assert site.get("host.example.com", "/x").status == 302


def test_4_7_two_cookie_lines_arrive_as_one(site: Site) -> None:
    site.get("host.example.com", "/x", headers=[("Cookie", "a=b"), ("Cookie", "CF_AUTHORIZATION=good")])
    [check] = site.authd.checks
    assert check.get("Cookie") == "a=b; CF_AUTHORIZATION=good"
    assert check.get("X-Authd-Session") == "good"


@pytest.mark.parametrize("session_bytes", [10, 2000, 3000, 3600, 4096, 7000])
def test_4_8_long_credentials_and_long_answers_get_in(site: Site, session_bytes: int) -> None:
    groups = ("X-Authd-Groups", "g" * 6000)
    site.authd.program(check=Reply(200, (*IDENTITY[:3], groups, until(9))))
    session = f"{next(_number)}".ljust(session_bytes, "x")
    for _ in range(2):
        answer = site.get("host.example.com", "/x", session=session)
        assert parse_echo(answer).get("X-Authd-Groups") == "g" * 6000
    assert len(site.authd.checks) == 1


def test_4_9_cache_files_are_for_nginx_user_alone(site: Site) -> None:
    site.authd.program(check=allow(until(9)))
    assert count_checks(site) == 1
    cache = site.nginx.directory / "cache"
    assert cache.stat().st_mode & 0o777 == 0o700
    files = [path for path in cache.rglob("*") if path.is_file()]
    assert files
    assert all(path.stat().st_mode & 0o077 == 0 for path in files)


def test_4_11_each_method_is_decided_for_itself(site: Site) -> None:
    site.authd.program(check=allow(until(9)))
    session = f"good{next(_number)}"
    for method in ("GET", "HEAD", "POST") * 2:
        body = b"" if method == "POST" else None
        site.get("host.example.com", "/x", session=session, method=method, body=body)
    assert [check.get("X-Original-Method") for check in site.authd.checks] == ["GET", "HEAD", "POST"]


KEYED = (
    "Cf-Access-Jwt-Assertion",
    "Cf-Access-Token",
    "Cf-Access-Client-Id",
    "Cf-Access-Client-Secret",
    "Authorization",
)


@pytest.mark.parametrize("name", KEYED)
def test_4_12_every_credential_separates_decisions(site: Site, name: str) -> None:
    """The same value under each name, so that none can be shifted into its neighbour's place."""
    site.authd.program(check=allow(until(9)))
    session, value = f"good{next(_number)}", f"credential{next(_number)}"
    variants: list[list[tuple[str, str]]] = [[], *[[(other, value)] for other in KEYED], [(name, f"{value}x")]]
    for headers in variants * 2:
        site.get("host.example.com", "/x", session=session, headers=headers)
    assert len(site.authd.checks) == len(variants)


def test_4_12_applications_on_one_host_do_not_share_decisions(site: Site) -> None:
    site.authd.program(check=allow(until(9)))
    session = f"good{next(_number)}"
    for target in ("/x", "/other/x", "/x", "/other/x"):
        site.get("host.example.com", target, session=session)
    assert [check.get("X-Authd-App") for check in site.authd.checks] == ["app", "other"]


@pytest.mark.parametrize(
    ("host", "checks"),
    [
        ("host.example.com", 1),
        ("any.wild.example.com", 1),
        ("path.example.com", 3),
        ("unknown.example.com", 3),
    ],
)
def test_4_12_a_decision_holds_for_the_host_only_where_it_was_rendered_so(site: Site, host: str, checks: int) -> None:
    site.authd.program(check=allow(until(9)))
    session = f"good{next(_number)}"
    for target in ("/a", "/b", "/b?c", "/a", "/b", "/b?c"):
        site.get(host, target, session=session)
    assert len(site.authd.checks) == checks
    expected = {host} if checks == 1 else {f"{host}/a", f"{host}/b", f"{host}/b?c"}
    assert {check.get("X-Authd-Scope") for check in site.authd.checks} == expected


def test_4_12_hosts_do_not_share_decisions(site: Site) -> None:
    site.authd.program(check=allow(until(9)))
    session = f"good{next(_number)}"
    for host in ("a.wild.example.com", "b.wild.example.com", "A.WILD.example.com.", "a.wild.example.com:1"):
        fetch(site.port, "/", host=host, headers=[("Cookie", f"CF_AUTHORIZATION={session}")])
    assert len(site.authd.checks) == 2


def test_the_key_holds_every_variable_that_may_decide(site: Site) -> None:
    """What authd is told and the key does not hold; a decision that rests on these is never cacheable."""
    text = (site.nginx.directory / "authd" / "authd-server.conf").read_text()
    check = text[text.index("location = /.authd/check") : text.index("location @authd_401")]
    [key] = [line for line in check.splitlines() if "proxy_cache_key" in line]
    # One variable of the key holds all of a certificate that nginx has verified, and nothing of any other.
    certificate = '    SUCCESS "$ssl_client_fingerprint\\n$authd_client_subject\\n$authd_client_issuer";'
    assert certificate in (site.nginx.directory / "authd" / "authd-http.conf").read_text().splitlines()
    key = key.replace("$authd_client_key", certificate.split('"')[1])
    told = {line.split()[2].rstrip(";") for line in check.splitlines() if "proxy_set_header" in line}
    missing = {
        value for value in told if value.startswith("$") and f"{value}\\n" not in f"{key.rstrip(chr(34) + ';')}\\n"
    }
    assert missing == {
        "$authd_listen_secret",
        # SUCCESS where the certificate is in the key; and no application of these reads a header of its own.
        *("$authd_client_verify", "$authd_credential"),
        "$scheme://$host$authd_port$request_uri",
        "$authd_path",
        "$request_id",
        "$http_cookie",
        "$http_origin",
        "$http_access_control_request_method",
    }
