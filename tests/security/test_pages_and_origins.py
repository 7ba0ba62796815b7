"""What a page of another origin can read, and what a value can do on a page of ours (attacks.md 1.2, 1.8, 1.10)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from authd.config import parse_config
from authd.errors import ConfigError
from authd.nginx_files.from_config import render_nginx_files
from tests.harness.stack import TEAM, Stack
from tests.security.edge import PROVIDER, STAFF
from tests.security.wire import Visitor

HOST = "api.test"
SCRIPT = [("Sec-Fetch-Mode", "cors"), ("Accept", "application/json")]


@pytest.mark.parametrize(
    "origin",
    ["null", "*", "https://evil.test", "https://friend.test.evil.test", "https://evilfriend.test", "http://friend.test",
     "https://friend.test:444", "https://FRIEND.test", "https://friend.test/", "https://friend.test,https://evil.test", "",  # noqa: E501
     "https://friend.test\xa0", "file://", "https://api.test"],
)  # fmt: skip
def test_only_an_origin_that_is_named_reads_an_answer(nobody: Visitor, origin: str) -> None:
    preflight = [("Origin", origin), ("Access-Control-Request-Method", "GET"), ("Access-Control-Request-Headers", "x")]
    for host, target in ((HOST, "/"), ("grafana.test", "/"), (HOST, "/cdn-cgi/access/get-identity"), (TEAM, "/")):
        for method, headers in (("GET", [("Origin", origin), *SCRIPT]), ("OPTIONS", preflight)):
            answer = nobody.ask(host, target, headers, method=method)
            assert answer is not None
            assert answer.get("Access-Control-Allow-Origin") is None, (host, target, method)
            assert answer.get("Access-Control-Allow-Credentials") is None


def test_the_named_origin_reads_the_refusal_and_nothing_more(stack: Stack, nobody: Visitor) -> None:
    before = stack.application.count
    answer = nobody.ask(HOST, "/", [("Origin", "https://friend.test"), *SCRIPT])
    assert answer is not None
    assert answer.status == 401
    assert answer.get("Access-Control-Allow-Origin") == "https://friend.test"
    preflight = [("Origin", "https://friend.test"), ("Access-Control-Request-Method", "GET")]
    for hostile in ("x\xff", "x, y", "*", "cookie" * 500, "x\ty", ""):
        answer = nobody.ask(HOST, "/", [*preflight, ("Access-Control-Request-Headers", hostile)], method="OPTIONS")
        assert answer is not None
        assert answer.status in (204, 400, 403), (hostile[:9], answer.status)
    assert (
        nobody.ask(HOST, "/", [preflight[0], ("Access-Control-Request-Method", "DELETE")], method="OPTIONS").status
        == 403
    )  # type: ignore[union-attr]
    assert stack.application.count == before


def test_an_application_cannot_name_itself_into_a_page(stack: Stack, alice: Visitor) -> None:
    """Its name in the configuration is `<script>alert(1)</script>`."""
    browser = stack.browser()
    stack.try_log_in(stack.url(HOST), "mallory", browser)
    page = browser.history[-1]
    assert page.status == 403
    assert "&lt;script&gt;alert(1)" in page.text
    form = browser.request(stack.url(HOST, '/"><img src=x>'.replace(" ", "%20")), method="POST")
    for answer in (page, form, *[browser.request(stack.url(TEAM, path)) for path in ("/", "/cdn-cgi/access/logout")]):
        assert "<script" not in answer.text.lower()
        assert not re.search(r"<[^>]*\son\w+=", answer.text.lower())
        assert "<img" not in answer.text
        assert "default-src 'none'" in answer.get("Content-Security-Policy")
        assert answer.get("X-Frame-Options") == "DENY"
        assert answer.get("X-Content-Type-Options") == "nosniff"


HOSTILE_TEXTS = [
    "x;}",
    "x\nproxy_pass http://evil;",
    "$host",
    "x{",
    "x}",
    "x#",
    'x"',
    "x'",
    "x\\",
    "x y",
    "x\x00",
    "${evil}",
    "x;return 200",
]


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
def test_no_value_of_the_configuration_becomes_a_directive(tmp_path: Path, text: str) -> None:
    """ingress-nginx' CVE-2025-1974 and its kin: refused when the file is read, or when it is rendered."""
    application = {"id": "app", "domains": ["app.test"], "policies": [STAFF]}
    base = {"team_domain": "auth.test", "listen": f"unix:{tmp_path}/a.sock", "state": f"sqlite:{tmp_path}/a.db",
            "secret_file": "s", "identity_providers": [PROVIDER]}  # fmt: skip
    for changes in (
        {"applications": [application | {"id": text}]},
        {"applications": [application | {"domains": [f"{text}.test"]}]},
        {"applications": [application | {"domains": [f"app.test/{text}"]}], "cookie_name": text},
        {"applications": [application], "path_prefix": f"/{text}"},
        {"applications": [application], "cookie_name": text},
        {"applications": [application], "listen": f"unix:/{text}"},
        {"applications": [application], "team_domain": f"{text}.test"},
    ):
        with pytest.raises(ConfigError):
            render_nginx_files(parse_config(yaml.safe_dump(base | changes), source="tests", base_dir=tmp_path))


@pytest.mark.parametrize(
    "text",
    ["!!python/object/apply:os.system ['true']", "a: !!python/name:os.system", "a: &a [*a]", "- x", "a: b: c", "\x00", "",  # noqa: E501
     "a: &x [1]\nb: &y [*x,*x,*x,*x]\nc: [*y,*y,*y,*y]", "team_domain: a\nteam_domain: b", "<<: {a: b}"],
)  # fmt: skip
def test_a_configuration_is_data_and_nothing_else(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError):
        parse_config(text, source="tests", base_dir=tmp_path)
