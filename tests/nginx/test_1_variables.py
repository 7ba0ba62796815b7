"""Variables and the subrequest (reference/nginx-contract.md, section 1)."""

from __future__ import annotations

import pytest

from tests.harness.protected import PROTECTED, Site, render_server

pytestmark = pytest.mark.nginx

_NAMED = f"set $authd_app app; {PROTECTED}"

HTTP = (
    render_server(
        "app.example.com",
        f"""
    root {{directory}};
    location / {{ {_NAMED} }}
    location ~ ^/regex/([a-z]+)/(.*)$ {{ set $authd_app regex; {PROTECTED} }}
    location /if/ {{ set $authd_app outer; if ($arg_x) {{ set $authd_app inner; }} {PROTECTED} }}
    location /files/ {{ set $authd_app files; include authd/authd-protect.conf; alias {{directory}}/files/; }}
    location /broken/ {{ set $authd_app app; rewrite ^/broken/(.*)$ /other/$1 break; {PROTECTED} }}
    location /moved/ {{ rewrite ^/moved/(.*)$ /target/$1 last; }}
    location /target/ {{ set $authd_app target; {PROTECTED} }}
    location /return/ {{ set $authd_app app; {PROTECTED} return 200 "open"; }}
    location /tries/ {{ set $authd_app app; include authd/authd-protect.conf; try_files /missing @tried; }}
    location @tried {{ include authd/authd-identity.conf; proxy_pass http://{{app}}; }}
    location /index/ {{
        set $authd_app app; include authd/authd-protect.conf; alias {{directory}}/index/; index index.html;
    }}
    location /nested/ {{
        set $authd_app nested;
        {PROTECTED}
        location /nested/inner/ {{ include authd/authd-identity.conf; proxy_pass http://{{app}}; }}
        location /nested/limited/ {{
            set $authd_app nested;
            include authd/authd-identity.conf;
            proxy_pass http://{{app}};
            limit_except GET {{ allow all; }}
        }}
    }}
""",
    )
    + render_server(
        "rewriting.example.com",
        f"""
    rewrite ^/(?!app/)(.*)$ /app/$1 last;
    location / {{ return 404; }}
    location /app/ {{ set $authd_app app; {PROTECTED} }}
""",
    )
    + render_server(
        "front.example.com",
        f"""
    if (!-e $request_filename) {{ rewrite ^ /index.php last; }}
    location / {{ return 404; }}
    location = /index.php {{ set $authd_app app; {PROTECTED} }}
""",
    )
    + render_server(
        "late.example.com",
        f"location / {{ return 404; }} location /app/ {{ {PROTECTED} }}",
        before="rewrite ^/(?!app/|.authd/|cdn-cgi/)(.*)$ /app/$1 last;",
    )
    + render_server(
        "whole.example.com",
        f"""
    include authd/authd-protect.conf;
    location / {{ include authd/authd-identity.conf; proxy_pass http://{{app}}; }}
    location /named/ {{ set $authd_app named; {PROTECTED} }}
""",
    )
)


@pytest.fixture(scope="module", autouse=True)
def files(module_site: Site) -> None:
    for folder in ("files", "index"):
        (module_site.nginx.directory / folder).mkdir()
        (module_site.nginx.directory / folder / "index.html").write_text("a static page")


def asked(site: Site) -> list[tuple[str | None, str | None]]:
    return [(request.get("X-Authd-App"), request.get("X-Original-Path")) for request in site.authd.checks]


@pytest.mark.parametrize(
    ("target", "application", "path"),
    [
        ("/x", "app", "/x"),
        ("/regex/abc/def", "regex", "/regex/abc/def"),
        ("/if/a", "outer", "/if/a"),
        ("/if/a?x=1", "inner", "/if/a"),
        ("/files/index.html", "files", "/files/index.html"),
        ("/broken/x", "app", "/broken/x"),
    ],
)
def test_1_1_the_location_names_its_application(site: Site, target: str, application: str, path: str) -> None:
    assert site.get("app.example.com", target, session="good").status == 200
    assert asked(site) == [(application, path)]


def test_1_1_the_challenge_sees_the_same_application_and_path(site: Site) -> None:
    assert site.get("app.example.com", "/regex/abc/def").status == 302
    [challenge] = site.authd.challenges
    assert (challenge.get("X-Authd-App"), challenge.get("X-Original-Path")) == ("regex", "/regex/abc/def")


def test_1_2_the_path_is_decoded_and_cleaned_and_the_url_is_raw(site: Site) -> None:
    site.get("app.example.com", "/x/a%20b/../c//d?q=%26%2f", session="good")
    [check] = site.authd.checks
    assert check.get("X-Original-Path") == "/x/c/d"
    assert check.get("X-Original-Url") == f"http://app.example.com:{site.port}/x/a%20b/../c//d?q=%26%2f"


def test_1_3_without_a_name_the_application_is_empty_and_the_path_is_there(site: Site) -> None:
    site.get("whole.example.com", "/x", session="good")
    assert asked(site) == [(None, "/x")]


def test_1_3_a_name_in_the_location_wins_over_the_default_of_the_server(site: Site) -> None:
    site.get("whole.example.com", "/named/x", session="good")
    assert asked(site) == [("named", "/named/x")]


def test_1_4_the_path_is_the_visitors_own_before_any_rewrite(site: Site) -> None:
    site.get("app.example.com", "/moved/x", session="good")
    assert asked(site) == [("target", "/moved/x")]
    assert site.application.last.target == "/target/x"


def test_1_4_a_rewrite_before_the_include_never_names_the_checks_own_path(site: Site) -> None:
    """The include is not the first line here, as it should be. A wrong path would be worse than none."""
    site.get("late.example.com", "/x", session="good")
    assert asked(site) == [(None, None)]


@pytest.mark.parametrize("target", ["/nested/inner/x", "/nested/inner/"])
def test_1_5_a_nested_location_is_protected_and_names_nothing(site: Site, target: str) -> None:
    assert site.get("app.example.com", target).status == 302
    assert asked(site) == [(None, target)]
    assert site.application.count == 0


def test_1_5_limit_except_is_protected_and_keeps_the_path(site: Site) -> None:
    assert site.get("app.example.com", "/nested/limited/x", method="POST", body=b"").status == 302
    assert asked(site)[0][1] == "/nested/limited/x"
    assert site.application.count == 0


def test_1_6_after_rewrite_last_the_target_location_is_asked_for(site: Site) -> None:
    assert site.get("app.example.com", "/moved/x").status == 302
    assert asked(site) == [("target", "/moved/x")]


@pytest.mark.parametrize("host", ["rewriting.example.com", "front.example.com"])
def test_1_7_a_server_level_rewrite_that_matches_everything_lets_nobody_in(site: Site, host: str) -> None:
    """Without the guard the check itself is rewritten into the application, whose 200 is the permission."""
    assert site.get(host, "/x").status == 302
    assert site.application.count == 0
    assert asked(site) == [("app", "/x")]


@pytest.mark.parametrize("host", ["rewriting.example.com", "front.example.com"])
def test_1_7_the_endpoints_are_not_rewritten_into_the_application(site: Site, host: str) -> None:
    assert site.get(host, "/cdn-cgi/access/authorized?nonce=1").text == "authd /app/authorized?nonce=1"
    assert site.application.count == 0


def test_1_8_return_in_a_protected_location_is_carried_out_before_the_check(site: Site) -> None:
    """Nothing that we can write prevents this; docs/nginx.md says it, and this test notices if nginx changes."""
    assert site.get("app.example.com", "/return/x").text == "open"
    assert site.authd.count == 0


def test_1_9_try_files_runs_after_the_check(site: Site) -> None:
    assert site.get("app.example.com", "/tries/x").status == 302
    assert site.application.count == 0
    site.forget()
    assert site.get("app.example.com", "/tries/x", session="good").status == 200
    assert len(site.authd.checks) == 1


def test_1_9_a_directorys_index_is_checked_twice_with_the_path_of_the_first(site: Site) -> None:
    assert site.get("app.example.com", "/index/", session="good").text == "a static page"
    assert asked(site) == [("app", "/index/")] * 2
    site.forget()
    assert site.get("app.example.com", "/index/").status == 302


@pytest.mark.parametrize(
    "target",
    ["/.authd/check", "//.authd//check", "/%2eauthd/check", "/.authd/challenge", "/.authd/unavailable.html"],
)
def test_1_10_internal_locations_do_not_exist_outside(site: Site, target: str) -> None:
    assert site.get("app.example.com", target, session="good").status == 404
    assert site.authd.count == 0


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "OPTIONS", "PROPFIND", "FOO"])
def test_1_11_the_check_is_a_get_that_names_the_visitors_method(site: Site, method: str) -> None:
    site.get("app.example.com", "/x", method=method, session="good", body=b"" if method == "POST" else None)
    [check] = site.authd.checks
    assert (check.method, check.get("X-Original-Method")) == ("GET", method)
    assert check.get("Content-Length") is None


@pytest.mark.parametrize(("session", "status"), [("", "401"), ("denied", "403")])
def test_1_12_the_challenge_is_told_which_of_the_two_it_was(site: Site, session: str, status: str) -> None:
    site.get("app.example.com", "/x", session=session)
    [challenge] = site.authd.challenges
    assert challenge.get("X-Authd-Check") == status
