"""`authd explain`: the decision about a request that nobody made, by the same loops that decide real ones."""

from __future__ import annotations

from dataclasses import replace

from authd.access import locate
from authd.client_certificates import parse_name
from authd.config import Config, parse_email
from authd.countries import Countries
from authd.credentials import CheckRequest
from authd.errors import ConfigError, ConfigMistake
from authd.model import SERVICE_TOKENS, ClientCertificate, Decision, Facts, Identity, Machine, Outcome, Reason
from authd.policy.explain import Explanation, explain
from authd.policy.index import build_index
from authd.urls import OriginalUrl, find_original_url, resolve_path


def explain_request(
    config: Config,
    *,
    url: str,
    method: str,
    facts: Facts,
) -> Explanation:
    """What would become of this request, and why. Raises ConfigError if `url` is no URL with a host name.

    `url` is the one of the address bar; its port and query play no part. Not looked at: cookies, tokens, sessions, the
    store.
    """
    original = find_original_url(url if url.count("/") > 2 else f"{url}/")
    if original is None:
        raise ConfigError(
            "explain", (ConfigMistake(0, "--url", "is no address such as https://grafana.example.com/d/1", url),)
        )
    countries = Countries(config.geo_database) if config.geo_database else None
    index = build_index(config, countries.find) if countries else build_index(config)
    request = _as_nginx_would_ask(original, method, facts)
    found = locate(index, request)
    path = request.path or "/"
    if isinstance(found, Decision):
        return Explanation(original.host, path, None, found, ())
    if found.options_preflight_bypass and method == "OPTIONS":
        preflight = Decision(Outcome.BYPASS, Reason.PREFLIGHT_BYPASS, found.id)
        return Explanation(original.host, path, found, preflight, ())
    if found.issuer and facts.identity:
        # Whoever comes to an application that only verifies comes from its issuer.
        facts = facts.about(replace(facts.identity, provider_id=found.issuer))
    return explain(index, host=original.host, path=path, facts=facts)


def _as_nginx_would_ask(url: OriginalUrl, method: str, facts: Facts) -> CheckRequest:
    return CheckRequest(
        claimed_application="",
        method=method,
        url=url,
        path=resolve_path(url.raw_path),
        facts=facts,
        scope="",
        nginx_session="",
        cookie_header="",
        access_token="",
        assertion="",
        authorization="",
        is_preflight=False,
    )


def build_service_token(client_id: str) -> Machine | None:
    """The machine of a service token's id; None without one."""
    return Machine(SERVICE_TOKENS, client_id) if client_id else None


def build_certificate(issuer: str, common_name: str) -> ClientCertificate | None:
    """The client certificate that the options describe; None if they describe none. Raises ConfigError."""
    if not issuer:
        return None
    try:
        return ClientCertificate(parse_name(issuer), common_name, "")
    except ValueError:
        mistake = ConfigMistake(0, "--certificate-issuer", "is no distinguished name", issuer, "CN=Device CA,O=Example")
        raise ConfigError("explain", (mistake,)) from None


def build_identity(
    *, email: str | None, groups: tuple[str, ...], provider_id: str, auth_methods: tuple[str, ...]
) -> Identity | None:
    """The person that the options describe; None if they describe nobody. Raises ConfigError for a bad address."""
    if email is None and not groups:
        return None
    address = parse_email(email) if email else None
    if email and address is None:
        raise ConfigError("explain", (ConfigMistake(0, "--email", "is no e-mail address", email),))
    return Identity(
        subject="00000000-0000-0000-0000-000000000000",
        provider_id=provider_id,
        provider_subject=email or "somebody",
        email=address,
        unverified_email=None,
        name=None,
        groups=groups,
        auth_methods=auth_methods,
        claims={"groups": list(groups)},
    )


def build_machine(config: Config, issuer_id: str, claims: tuple[str, ...]) -> Machine:
    """The machine that the options describe; `claims` are NAME=VALUE, each a text. Raises ConfigError."""
    known = [each.id for each in config.token_issuers] + [each.issuer for each in config.applications if each.issuer]
    if issuer_id not in known:
        mistake = ConfigMistake(0, "--token-issuer", "is no token issuer", issuer_id, ", ".join(known) or "none")
        raise ConfigError("explain", (mistake,))
    wrong = next((claim for claim in claims if "=" not in claim), None)
    if wrong is not None:
        raise ConfigError("explain", (ConfigMistake(0, "--claim", "is not NAME=VALUE", wrong),))
    # A claim that is given twice is a list, as a scope or groups are.
    values: dict[str, tuple[str, ...]] = {}
    for name, _, value in (claim.partition("=") for claim in claims):
        values[name] = (*values.get(name, ()), value)
    return Machine(issuer_id, "somebody", claims=values)
