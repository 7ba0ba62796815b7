import json
from typing import Any

import pytest

from authd.idp.discovery import ProviderMetadata, discovery_url, parse_metadata

ISSUER = "https://idp.example.com/realms/corp"
DOCUMENT: dict[str, Any] = {
    "issuer": ISSUER,
    "authorization_endpoint": "https://login.example.net/authorize?tenant=corp",
    "token_endpoint": "https://idp.example.com/token",
    "userinfo_endpoint": "https://idp.example.com/userinfo",
    "jwks_uri": "https://keys.example.org/jwks",
    "id_token_signing_alg_values_supported": ["HS256", "RS256", "ES256", "none", "EdDSA"],
}


def parse(**members: Any) -> ProviderMetadata:
    document = {name: value for name, value in (DOCUMENT | members).items() if value is not None}
    return parse_metadata(json.dumps(document).encode(), issuer=ISSUER)


def test_what_we_use_of_a_document_is_read() -> None:
    assert parse() == ProviderMetadata(
        issuer=ISSUER,
        authorization_endpoint="https://login.example.net/authorize?tenant=corp",
        token_endpoint="https://idp.example.com/token",
        userinfo_endpoint="https://idp.example.com/userinfo",
        jwks_uri="https://keys.example.org/jwks",
        algorithms=frozenset({"RS256", "ES256"}),
        sends_issuer=False,
        secret_goes_in_body=False,
    )


@pytest.mark.parametrize(
    ("issuer", "url"),
    [
        ("https://idp.example.com", "https://idp.example.com/.well-known/openid-configuration"),
        ("https://idp.example.com/", "https://idp.example.com/.well-known/openid-configuration"),
        (ISSUER, f"{ISSUER}/.well-known/openid-configuration"),
    ],
)
def test_the_document_is_below_the_issuer(issuer: str, url: str) -> None:
    assert discovery_url(issuer) == url


@pytest.mark.parametrize(
    "issuer",
    [ISSUER + "/", ISSUER.upper(), "https://idp.example.com", "http" + ISSUER.removeprefix("https"), None, [ISSUER], 1],
)
def test_another_issuer_is_refused_to_the_letter(issuer: object) -> None:
    with pytest.raises(ValueError, match="issuer"):
        parse_metadata(json.dumps(DOCUMENT | {"issuer": issuer}).encode(), issuer=ISSUER)


def test_the_right_spelling_of_an_issuer_is_told() -> None:
    """A slash at its end is the commonest mistake of all."""
    with pytest.raises(ValueError, match=f"is the one of {ISSUER}; if that is right, write it as `issuer`"):
        parse_metadata(json.dumps(DOCUMENT).encode(), issuer=ISSUER + "/")


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint", "jwks_uri"])
@pytest.mark.parametrize(
    "url",
    [
        None,
        "",
        7,
        "http://idp.example.com/x",
        "http://127.0.0.1:80@idp.example.com/x",
        "http://127.0.0.1/x",
        "https://user@idp.example.com/x",
        "https://idp.example.com/x#fragment",
        "https:///x",
        "https://[::1",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "/relative",
        "https://idp.example.com/\nx",
        "https://ıdp.example.com/x",
    ],
)
def test_an_endpoint_is_an_https_url(name: str, url: object) -> None:
    with pytest.raises(ValueError, match=f"{name}|Invalid IPv6"):
        parse(**{name: url})


def test_http_is_for_loopback_addresses_on_both_ends() -> None:
    plain = {
        "authorization_endpoint": "http://127.0.0.1:9000/a",
        "token_endpoint": "http://[::1]:9000/t",
        "userinfo_endpoint": None,
        "jwks_uri": "http://127.0.0.2:9000/k",
    }
    issuer = "http://127.0.0.1:9000"
    document = {name: value for name, value in (DOCUMENT | plain | {"issuer": issuer}).items() if value}
    metadata = parse_metadata(json.dumps(document).encode(), issuer=issuer)
    assert metadata.jwks_uri == "http://127.0.0.2:9000/k"
    assert metadata.userinfo_endpoint is None
    document["jwks_uri"] = "http://localhost.evil.com/k"
    with pytest.raises(ValueError, match="not https"):
        parse_metadata(json.dumps(document).encode(), issuer=issuer)


def test_a_document_without_a_list_of_algorithms_means_rs256() -> None:
    assert parse(id_token_signing_alg_values_supported=None).algorithms == {"RS256"}


@pytest.mark.parametrize("names", [[], ["HS256"], ["none"], "RS256", {"RS256": 1}, [["RS256"]], ["rs256"]])
def test_symmetric_and_unknown_algorithms_are_no_choice(names: object) -> None:
    with pytest.raises(ValueError, match="offers no signing algorithm"):
        parse(id_token_signing_alg_values_supported=names)


@pytest.mark.parametrize(
    ("methods", "in_body"),
    [
        (None, False),
        (["client_secret_basic", "client_secret_post"], False),
        (["client_secret_post"], True),
        (["private_key_jwt"], False),
        ("client_secret_post", False),
    ],
)
def test_the_secret_goes_in_the_body_only_where_nothing_else_is_taken(methods: object, in_body: bool) -> None:
    assert parse(token_endpoint_auth_methods_supported=methods).secret_goes_in_body is in_body


@pytest.mark.parametrize("promised", [False, "true", 1, None])
def test_only_json_true_promises_the_issuer_in_the_callback(promised: object) -> None:
    assert parse(authorization_response_iss_parameter_supported=promised).sends_issuer is False
    assert parse(authorization_response_iss_parameter_supported=True).sends_issuer is True
