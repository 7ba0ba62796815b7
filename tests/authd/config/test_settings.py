"""Each setting: what it takes, what it becomes, and what is said when it does not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from authd.config import parse_config
from tests.authd.config.samples import (
    PROVIDER,
    SAMPLE,
    application,
    find_mistakes_in_values,
    find_only_mistake,
    parse,
    parse_values,
)


def test_the_sample_of_the_design_is_read() -> None:
    config = parse(SAMPLE)
    assert config.team_domain == "auth.example.com"
    assert config.session_duration_seconds == 86400
    assert config.identity_providers[0].client_secret_file == Path("/etc/authd/corp.secret")
    grafana = config.applications[0]
    assert [str(domain) for domain in grafana.domains] == ["grafana.example.com", "example.org/grafana"]
    assert grafana.session_duration == 8 * 3600


def test_one_line_is_a_configuration_with_every_default() -> None:
    config = parse("team_domain: auth.example.com\n")
    assert config.listen == "unix:/run/authd/authd.sock"
    assert config.state == "sqlite:/var/lib/authd/authd.db"
    assert config.secret_file == Path("/etc/authd/secret")
    assert (config.path_prefix, config.cookie_name) == ("/cdn-cgi/access", "CF_AUTHORIZATION")
    assert (config.session_duration_seconds, config.store_outage_grace_seconds) == (86400, 300)
    assert (config.decision_cache_seconds, config.workers) == (1, 1)
    limit = config.login_rate_limit
    assert (limit.per_address, limit.per_person, limit.window_seconds) == (30, 10, 60)
    assert config.applications == config.groups == config.lists == config.identity_providers == ()


@pytest.mark.parametrize(
    ("key", "given", "value"),
    [
        ("team_domain", "Auth.Example.COM", "auth.example.com"),
        ("team_domain", "auth.localhost:8443", "auth.localhost:8443"),
        ("team_domain", "auth.example.com:443", "auth.example.com"),
        ("listen", "unix:/run/x.sock", "unix:/run/x.sock"),
        ("path_prefix", "/access", "/access"),
        ("path_prefix", "/a-b/c_d/e.f", "/a-b/c_d/e.f"),
        ("cookie_name", "Mine_2", "Mine_2"),
        ("session_duration", "31m", 1860),
        ("decision_cache_seconds", 0, 0),
        ("decision_cache_seconds", 60, 60),
        ("store_outage_grace", "0s", 0),
        ("workers", "auto", "auto"),
        ("workers", 8, 8),
        ("socket_group", "www-data", "www-data"),
    ],
)
def test_good_values(key: str, given: Any, value: Any) -> None:
    assert getattr(parse_values(**{key: given}), key) == value


@pytest.mark.parametrize(
    ("key", "given"),
    [
        ("team_domain", "https://auth.example.com"),
        ("team_domain", "auth.example.com/"),
        ("team_domain", "*.example.com"),
        ("team_domain", "auth.example.com:0"),
        ("team_domain", "auth.example.com:65536"),
        ("team_domain", "auth.example.com:"),
        ("team_domain", "auth.example.com."),
        ("team_domain", "auth_example com"),
        ("team_domain", ""),
        ("listen", "0.0.0.0:8300"),
        ("listen", "192.0.2.1:8300"),
        ("listen", "[::]:8300"),
        ("listen", "127.0.0.1"),
        ("listen", "127.0.0.1:0"),
        ("listen", "127.0.0.1:٨٠"),
        ("listen", "localhost:8300"),
        ("listen", "unix:relative.sock"),
        ("listen", "unix:/" + "x" * 107),
        ("listen", 8300),
        ("state", "sqlite:relative.db"),
        ("state", "postgres://x"),
        ("state", "memory"),
        ("secret_file", 5),
        ("secret_file", "a\0b"),
        ("path_prefix", "cdn-cgi/access"),
        ("path_prefix", "/cdn-cgi/access/"),
        ("path_prefix", "/"),
        ("path_prefix", "/a//b"),
        ("path_prefix", "/a/../b"),
        ("path_prefix", "/a b"),
        ("path_prefix", "/a;b"),
        ("path_prefix", "/a\n"),
        ("path_prefix", "/a%2fb"),
        ("cookie_name", "CF_AppSession"),
        ("cookie_name", "__host-authd_team"),
        ("cookie_name", "a=b"),
        ("cookie_name", "a;b"),
        ("cookie_name", "a b"),
        ("cookie_name", "a\n"),
        ("session_duration", "0s"),
        ("session_duration", "745h"),
        ("session_duration", 86400),
        ("session_duration", "1d"),
        ("decision_cache_seconds", 61),
        ("decision_cache_seconds", -1),
        ("decision_cache_seconds", "1"),
        ("decision_cache_seconds", 1.0),
        ("decision_cache_seconds", True),
        ("store_outage_grace", "25h"),
        ("workers", 0),
        ("workers", 257),
        ("workers", "4"),
        ("workers", True),
        ("allow_shared_team_host", "yes"),
        ("allow_shared_team_host", 1),
        ("login_rate_limit", {"per_address": 0}),
        ("login_rate_limit", {"window": "0s"}),
        ("login_rate_limit", 5),
        ("groups", {"name": "x"}),
        ("applications", "x"),
    ],
)
def test_bad_values_are_one_mistake_at_their_key(key: str, given: Any) -> None:
    mistakes = find_mistakes_in_values(**{key: given})
    assert len(mistakes) == 1
    assert mistakes[0].key.startswith(key)
    assert mistakes[0].message


def test_the_team_domain_must_be_given() -> None:
    with pytest.raises(Exception, match="team_domain: is missing"):
        parse("workers: 1\n")


def test_a_port_needs_the_secret_that_proves_who_asks() -> None:
    mistake = find_only_mistake(listen="127.0.0.1:8300")
    assert mistake.key == "listen_secret_file"
    config = parse_values(listen="127.0.0.1:8300", listen_secret_file="/etc/authd/listen.secret")
    assert config.listen_secret_file == Path("/etc/authd/listen.secret")


@pytest.mark.parametrize("listen", ["127.0.0.1:8300", "[::1]:8300", "127.8.8.8:1"])
def test_only_loopback_addresses_are_listened_on(listen: str) -> None:
    assert parse_values(listen=listen, listen_secret_file="/s").listen == listen


def test_paths_start_at_the_directory_of_the_file(tmp_path: Path) -> None:
    text = "team_domain: auth.example.com\nsecret_file: keys/secret\n"
    assert parse_config(text, source="x", base_dir=tmp_path).secret_file == tmp_path / "keys" / "secret"


@pytest.mark.parametrize(
    "issuer",
    [
        "https://idp.example.com",
        "https://idp.example.com:8443/realms/corp",
        "https://idp.example.com/",
        "http://127.0.0.1:9000",
        "http://[::1]:9000/x",
    ],
)
def test_good_issuers(issuer: str) -> None:
    assert parse_values(identity_providers=[{**PROVIDER, "issuer": issuer}]).identity_providers[0].issuer == issuer


@pytest.mark.parametrize(
    "issuer",
    [
        "http://idp.example.com",
        "http://localhost:9000",
        "http://127.0.0.1.example.com",
        "http://10.0.0.1",
        "ftp://idp.example.com",
        "idp.example.com",
        "https://",
        "https://idp.example.com?x=1",
        "https://idp.example.com#x",
        "https://idp.example.com?",
        "https://user:hunter2@idp.example.com",
        "https://user:hunter2@idp.exämple.com",
        "https://user:hunter2@idp.example.com:99999",
        "ftp://hunter2@idp.example.com",
        "https://idp.example.com:99999",
        "https://[::1",
        "https://idp.example.com/ x",
        "https://idp.exämple.com",
        "",
    ],
)
def test_bad_issuers(issuer: str) -> None:
    mistake = find_only_mistake(identity_providers=[{**PROVIDER, "issuer": issuer}])
    assert mistake.key == "identity_providers[0].issuer"
    assert "hunter2" not in str(mistake)


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"type": "gitlab"}, "type"),
        ({"id": "a b"}, "id"),
        ({"id": "-a"}, "id"),
        ({"scopes": ["email"]}, "scopes"),
        ({"scopes": "openid"}, "scopes"),
        ({"client_secret_env": "A B"}, "client_secret_env"),
        ({"client_secret_env": "A", "client_secret_file": "/x"}, "client_secret_env"),
        ({"assume_email_verified": "true"}, "assume_email_verified"),
        ({"name": " x"}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"claims": [1]}, "claims[0]"),
    ],
)
def test_bad_provider_settings(settings: dict[str, Any], key: str) -> None:
    assert find_only_mistake(identity_providers=[{**PROVIDER, **settings}]).key == f"identity_providers[0].{key}"


def test_a_provider_without_a_secret_is_a_public_client() -> None:
    provider = parse_values(identity_providers=[PROVIDER]).identity_providers[0]
    assert provider.client_secret_file is None
    assert provider.client_secret_env is None
    assert provider.display_name == "corp"


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"id": "a/b"}, "id"),
        ({"id": "x" * 65}, "id"),
        ({"aud": "A" * 64}, "aud"),
        ({"aud": "a" * 63}, "aud"),
        ({"domains": []}, "domains"),
        ({"domains": "app.example.com"}, "domains"),
        ({"session_duration": "0"}, "session_duration"),
        ({"allowed_idps": "corp"}, "allowed_idps"),
        ({"custom_deny_message": ""}, "custom_deny_message"),
        ({"policies": {}}, "policies"),
        ({"policies": ["x"]}, "policies[0]"),
        ({"cors_headers": {"allowed_origins": ["https://a.example.com/"]}}, "cors_headers.allowed_origins[0]"),
        ({"cors_headers": {"allowed_origins": ["*"]}}, "cors_headers.allowed_origins[0]"),
        ({"cors_headers": {"allowed_origins": ["https://A.example.com"]}}, "cors_headers.allowed_origins[0]"),
        ({"cors_headers": {"allowed_origins": ["https://a.example.com:443"]}}, "cors_headers.allowed_origins[0]"),
        ({"cors_headers": {"allowed_origins": ["null"]}}, "cors_headers.allowed_origins[0]"),
        ({"cors_headers": {"allowed_methods": ["get"]}}, "cors_headers.allowed_methods[0]"),
        ({"cors_headers": {"allowed_headers": ["a b"]}}, "cors_headers.allowed_headers[0]"),
        ({"cors_headers": {"max_age": 86401}}, "cors_headers.max_age"),
        ({"cors_headers": {"allow_all_methods": True, "allowed_methods": ["GET"]}}, "cors_headers.allow_all_methods"),
        ({"cors_headers": {"allow_all_origins": True, "allow_credentials": True}}, "cors_headers.allow_credentials"),
        ({"cors_headers": {}, "options_preflight_bypass": True}, "options_preflight_bypass"),
    ],
)
def test_bad_application_settings(settings: dict[str, Any], key: str) -> None:
    assert find_only_mistake(applications=[application(**settings)]).key == f"applications[0].{key}"


def test_cors_headers_are_read() -> None:
    cors = {"allowed_origins": ["https://a.example.com:8443", "http://b.example.com"], "max_age": -1}
    parsed = parse_values(applications=[application(cors_headers=cors)]).applications[0].cors_headers
    assert parsed is not None
    assert parsed.allowed_origins == ("https://a.example.com:8443", "http://b.example.com")
    assert parsed.max_age == -1


@pytest.mark.parametrize("decision", ["permit", "Allow", "block", "", None, 1])
def test_there_are_four_decisions(decision: Any) -> None:
    policy = {"name": "P", "decision": decision, "include": [{"everyone": True}]}
    mistake = find_only_mistake(applications=[application(policies=[policy])])
    assert mistake.key == "applications[0].policies[0].decision"
    assert "allow, deny, bypass, non_identity" in mistake.allowed


def test_a_policy_without_include_is_a_mistake() -> None:
    missing = {"name": "P", "decision": "allow"}
    empty = {**missing, "include": []}
    for policy in (missing, empty):
        mistake = find_only_mistake(applications=[application(policies=[policy])])
        assert mistake.key == "applications[0].policies[0].include"


def test_a_configuration_cannot_be_changed() -> None:
    config = parse(SAMPLE)
    with pytest.raises(ValueError, match="frozen"):
        config.workers = 5
