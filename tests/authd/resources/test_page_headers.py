"""The headers that go with every page, and the addresses that may stand in one."""

from __future__ import annotations

import pytest

from authd.resources.page_headers import SECURITY_HEADERS, security_headers, verify_link


def get_policy(form_targets: tuple[str, ...] = ()) -> dict[str, list[str]]:
    policy = dict(security_headers(form_targets))["Content-Security-Policy"]
    return {name: values for name, *values in (directive.split() for directive in policy.split(";"))}


def test_the_policy_allows_one_style_sheet_and_forms_to_ourselves_and_nothing_else() -> None:
    assert get_policy() == {
        "default-src": ["'none'"],
        "style-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }


def test_pages_are_neither_kept_nor_framed_nor_guessed_at_nor_told_to_others() -> None:
    headers = dict(SECURITY_HEADERS)

    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert len(headers) == len(SECURITY_HEADERS), "a name is sent twice"


def test_windows_that_an_application_opens_for_the_login_keep_their_opener() -> None:
    assert "Cross-Origin-Opener-Policy" not in dict(SECURITY_HEADERS)


def test_form_targets_are_added_once_and_change_nothing_else() -> None:
    targets = ("https://auth.example.com:8443", "http://127.0.0.1:9000", "https://auth.example.com:8443")

    policy = get_policy(targets)

    assert policy.pop("form-action") == ["'self'", "https://auth.example.com:8443", "http://127.0.0.1:9000"]
    assert policy == {name: values for name, values in get_policy().items() if name != "form-action"}


@pytest.mark.parametrize(
    "target",
    [
        "",
        "*",
        "https:",
        "https://*.example.com",
        "https://auth.example.com/",
        "https://auth.example.com; script-src *",
        "https://auth.example.com, default-src *",
        "https://auth.example.com 'unsafe-inline'",
        "https://auth.example.com\r\nSet-Cookie: a=b",
        "https://auth.example.com\n",
        "auth.example.com",
        "javascript:alert(1)",
    ],
)
def test_a_form_target_that_is_no_origin_is_refused(target: str) -> None:
    with pytest.raises(ValueError, match="is no origin"):
        security_headers([target])


@pytest.mark.parametrize(
    "url",
    [
        "/",
        "/cdn-cgi/access/login/grafana.example.com?kid=0a&redirect_url=%2Fd%3Fa%3D1",
        "/%2f%2fevil.example",
        "/.//x?y=//z#//",
        "/it's<odd>\"but&harmless",
        "/search?regex=\\d+&path=C:\\x",
        "https://grafana.example.com",
        "https://grafana.example.com/search?regex=\\d+",
        "https://grafana.example.com:8443/d?x=1#y",
        "https://grafana.example.com?x",
        "http://127.0.0.1:9000/authorize",
        "http://[::1]:9000/",
        "https://xn--bcher-kva.example/",
    ],
)
def test_paths_and_web_addresses_are_links(url: str) -> None:
    assert verify_link(url) == url


@pytest.mark.parametrize(
    "url",
    [
        *("", "grafana", "?x=1", "#top", "./x", "//evil.example", "///evil.example", "/\\evil.example"),
        *(
            "\\/evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            "/ /evil.example",
            "/x\n",
            "\n/x",
            "/x y",
        ),
        *("javascript:alert(1)", "JavaScript:alert(1)", "java\nscript:alert(1)", "\x01javascript:alert(1)"),
        *(
            "data:text/html,x",
            "vbscript:x",
            "blob:https://a/b",
            "file:///etc/passwd",
            "ftp://a/",
            "mailto:a@b.c",
        ),
        *("https:evil.example", "https:/evil.example", "https:///evil.example", "https://", "https://?x"),
        *("https://known@evil.example", "https://known:pass@evil.example/", "https://known\\@evil.example"),
        *(
            "https://known%40evil.example",
            "https://known。evil.example",
            "https://аpp.example",
            " https://a.example",
        ),
        *(
            "https://a.example:99999999/",
            "https://a.example:/",
            "http://[::1",
            "https://a.example/\x00",
            "/\ud800",
        ),
    ],
)
def test_everything_else_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="must be a path or an http") as refusal:
        verify_link(url)
    assert len(url) < 4 or url not in str(refusal.value)
