from __future__ import annotations

from pathlib import Path

import pytest

from authd.config import Config, parse_config
from authd.errors import ConfigError, SecretError
from authd.nginx_files.from_config import derive_settings, render_nginx_files

YAML = """
team_domain: auth.example.com
state: sqlite:/var/lib/authd/authd.db
secret_file: /etc/authd/secret
{settings}
identity_providers:
  - {{id: corp, type: oidc, name: Corp, issuer: "https://idp.example.com", client_id: authd}}
applications:
  - id: grafana
    name: Grafana
    domains: [grafana.example.com, "*.apps.example.com"]
    policies: [{{name: All, decision: allow, include: [{{everyone: true}}]}}]
  - id: shop
    name: Shop
    domains: [example.org]
    policies: [{{name: All, decision: allow, include: [{{everyone: true}}]}}]
  - id: wiki
    name: Wiki
    domains: [example.org/wiki]
    aud: {aud}
    policies: [{{name: All, decision: allow, include: [{{everyone: true}}]}}]
"""
AUD = "1a2b3c4d" + "0" * 56


def load(tmp_path: Path, settings: str = "listen: unix:/run/authd/authd.sock") -> Config:
    return parse_config(YAML.format(settings=settings, aud=AUD), source="authd.yml", base_dir=tmp_path)


def test_a_host_of_one_application_has_decisions_for_the_host_and_any_other_for_the_path(tmp_path: Path) -> None:
    assert dict(derive_settings(load(tmp_path)).scopes) == {
        "grafana.example.com": "host",
        "*.apps.example.com": "host",
        "example.org": "path",
    }


def test_an_application_that_is_bound_to_a_path_has_a_cookie_of_its_own(tmp_path: Path) -> None:
    assert derive_settings(load(tmp_path)).bound_cookies == (("wiki", "CF_AUTHORIZATION_1a2b3c4d"),)


def test_the_listeners_secret_is_read_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "listen.secret").write_text("s" * 44 + "\n")
    config = load(tmp_path, "listen: 127.0.0.1:8300\nlisten_secret_file: listen.secret")
    assert derive_settings(config).listen_secret == "s" * 44
    assert "s" * 44 in render_nginx_files(config)["authd-http.conf"]


def test_a_secret_that_cannot_be_read_or_pasted_is_refused_without_being_shown(tmp_path: Path) -> None:
    config = load(tmp_path, "listen: 127.0.0.1:8300\nlisten_secret_file: listen.secret")
    with pytest.raises(SecretError, match=r"listen.secret cannot be read \(FileNotFoundError\)"):
        render_nginx_files(config)
    (tmp_path / "listen.secret").write_text("s" * 40 + '";\ninclude /etc/passwd;')
    with pytest.raises(ConfigError) as refused:
        render_nginx_files(config)
    assert "ssss" not in str(refused.value)


def test_the_settings_that_nginx_needs_are_taken_over(tmp_path: Path) -> None:
    settings = "listen: unix:/run/other.sock\npath_prefix: /access\ncookie_name: SESSION"
    derived = derive_settings(load(tmp_path, settings), cache_directory="/run/nginx-cache")
    assert (derived.listen, derived.path_prefix, derived.cookie_name) == ("unix:/run/other.sock", "/access", "SESSION")
    assert derived.cache_directory == "/run/nginx-cache"


def test_an_application_that_only_verifies_is_keyed_by_the_edge_s_cookie() -> None:
    """Whatever our own is called, and also on a path."""
    text = """
team_domain: auth.example.com
cookie_name: ours
applications:
  - {id: whole, domains: [a.example.com], issuer: "https://t.example.com", aud: "AUD"}
  - {id: path, domains: [b.example.com/x], issuer: "https://t.example.com", aud: "AUD"}
  - {id: own, domains: [c.example.com]}
"""
    config = parse_config(text.replace("AUD", "a" * 64), source="test", base_dir=Path())
    bound = dict(derive_settings(config).bound_cookies)
    assert bound == {"whole": "CF_Authorization", "path": "CF_Authorization"}
    usual = parse_config(text.replace("AUD", "a" * 64).replace("cookie_name: ours\n", ""), source="t", base_dir=Path())
    # nginx reads a cookie's name in whatever case.
    assert derive_settings(usual).bound_cookies == ()


def test_the_bearers_of_token_issuers_are_kept_from_applications(tmp_path: Path) -> None:
    one = '{id: "git.hub", issuer: "https://t.example.com", audiences: [a]}'
    # A word of nginx' own is a name like any other.
    two = '{id: "default", issuer: "https://u.example.com", audiences: [a]}'
    files = render_nginx_files(load(tmp_path, f"token_issuers: [{one}, {two}]"))
    assert r'"~^machine:(?:git\.hub|default)/" "";' in files["authd-http.conf"]
    assert "proxy_set_header authorization $authd_passed_authorization;" in files["authd-identity.conf"].lower()
    assert "HTTP_AUTHORIZATION $authd_passed_authorization" in files["authd-identity-fastcgi.conf"]
    without = render_nginx_files(load(tmp_path))
    assert "untaken" not in without["authd-http.conf"]
    assert "uthorization" not in without["authd-identity.conf"]
