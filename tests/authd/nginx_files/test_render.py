"""The rendered text, read back with crossplane, which reads nginx configuration as nginx does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import crossplane
import pytest

from authd.errors import ConfigError
from authd.nginx_files import NginxSettings, render_settings, write_files
from authd.nginx_files.directives import NginxText
from authd.nginx_files.render import _TEMPLATES, FILE_NAMES

SECRET = "0123456789abcdef0123456789abcdef"


def parse(directory: Path, settings: NginxSettings, name: str = "authd-http.conf") -> list[dict[str, Any]]:
    """The directives of one rendered file."""
    write_files(render_settings(settings), directory)
    payload = crossplane.parse(str(directory / name), single=True, check_ctx=False, check_args=False)
    assert payload["status"] == "ok", payload["errors"]
    directives: list[dict[str, Any]] = payload["config"][0]["parsed"]
    return directives


def map_to(directives: list[dict[str, Any]], variable: str) -> dict[str, str]:
    [block] = [each for each in directives if each["directive"] == "map" and each["args"][1] == variable]
    return {line["directive"]: "".join(line["args"]) for line in block["block"]}


def test_a_unix_socket_is_named_as_often_as_connections_are_kept_plus_two(tmp_path: Path) -> None:
    directives = parse(tmp_path, NginxSettings())
    [upstream] = [each for each in directives if each["directive"] == "upstream"]
    servers = [line["args"] for line in upstream["block"] if line["directive"] == "server"]
    [keepalive] = [int(line["args"][0]) for line in upstream["block"] if line["directive"] == "keepalive"]
    assert servers == [["unix:/run/authd/authd.sock", "max_fails=0"]] * (keepalive + 2)
    assert map_to(directives, "$authd_listen_secret") == {"default": ""}


def test_a_tcp_listener_has_its_secret_in_one_file_only(tmp_path: Path) -> None:
    settings = NginxSettings(listen="127.0.0.1:8300", listen_secret=SECRET)
    assert map_to(parse(tmp_path, settings), "$authd_listen_secret") == {"default": SECRET}
    assert [name for name, text in render_settings(settings).items() if SECRET in text] == ["authd-http.conf"]


def test_scopes_and_cookies_are_rendered_as_maps(tmp_path: Path) -> None:
    settings = NginxSettings(
        cookie_name="SESSION",
        scopes=(("*.example.org", "host"), ("grafana.example.com", "host"), ("example.com", "path")),
        bound_cookies=(("wiki", "SESSION_1a2b3c4d"), ("default", "SESSION_5e6f7a8b")),
    )
    directives = parse(tmp_path, settings)
    assert map_to(directives, "$authd_scope_key") == {
        "hostnames": "",
        "default": "$host$request_uri",
        "*.example.org": "$host",
        "grafana.example.com": "$host",
        "example.com": "$host$request_uri",
    }
    assert map_to(directives, "$authd_session") == {
        "volatile": "",
        "default": "$cookie_session",
        "wiki": "$cookie_session_1a2b3c4d",
        "\\default": "$cookie_session_5e6f7a8b",
    }


def test_a_header_of_ones_own_for_service_tokens_is_in_the_key_of_the_decision() -> None:
    settings = NginxSettings(credential_headers=(("api", "X-Token"),))
    assert [
        ("$authd_credential\\n" in render_settings(each)["authd-server.conf"]) for each in (settings, NginxSettings())
    ] == [
        True,
        False,
    ]


def test_a_prefix_of_ones_own_is_used_everywhere() -> None:
    files = render_settings(NginxSettings(path_prefix="/my.access"))
    text = "".join(files.values())
    assert "cdn-cgi" not in text
    assert '"~^/my\\.access/" authd;' in files["authd-http.conf"]
    assert "location ^~ /my.access/ {" in files["authd-server.conf"]
    assert '"~^/my\\.access/login/' in files["authd-http.conf"]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (NginxSettings(scopes=(("a" * 40, "host"),)), []),
        (NginxSettings(scopes=(("a" * 63 + ".example.com", "host"),)), ["map_hash_bucket_size"]),
        (NginxSettings(scopes=tuple((f"h{n}.example.com", "host") for n in range(2000))), ["map_hash_max_size"]),
    ],
)
def test_hash_sizes_are_set_only_where_they_must_be(
    tmp_path: Path, settings: NginxSettings, expected: list[str]
) -> None:
    """An operator may have set them; nginx refuses a second line of the same name."""
    found = [each["directive"] for each in parse(tmp_path, settings) if each["directive"].startswith("map_hash")]
    assert found == expected


@pytest.mark.parametrize(
    "hostile",
    [
        {"listen": "unix:/run/x; } http {"},
        {"listen_secret": 'x"; add_header Leak $http_cookie; #'.ljust(40, "x")},
        {"path_prefix": "/a { return 200; } location /b"},
        {"cookie_name": "a;b"},
        {"scopes": (("a.example.com host; } map $host $authd_status { default 200", "host"),)},
        {"scopes": (("~.*", "host"),)},
        {"bound_cookies": (("wiki $cookie_a; ~.", "b"),)},
        {"bound_cookies": (("wiki", "b; default $arg_session"),)},
        {"cache_directory": "/tmp levels=1; include /etc/passwd"},
    ],
)
def test_a_value_that_would_become_a_directive_is_refused(hostile: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="cannot stand in nginx configuration"):
        render_settings(replace(NginxSettings(), **hostile))


def test_a_template_prints_nothing_that_nobody_quoted() -> None:
    with pytest.raises(TypeError, match="which is no NginxText"):
        _TEMPLATES.from_string("{{ value }}").render(value="plain text")
    with pytest.raises(TypeError, match="prints StrictUndefined"):
        _TEMPLATES.from_string("{{ misspelt }}").render(value=NginxText("x"))


def test_rendering_is_pure() -> None:
    assert render_settings(NginxSettings()) == render_settings(NginxSettings())
    assert set(render_settings(NginxSettings())) == set(FILE_NAMES)
