"""The selectors: their keys, their shapes on the API, their short forms, and how each is read.

Every selector is declared once, in `SELECTORS`; the reader, the JSON Schema, the words of an
error and a test of docs/policies.md all come from there. Source of the keys: Cloudflare's API
(zero_trust access policies), as access-wire 3.3 lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from authd.config.country_codes import read_country_code
from authd.config.fields import (
    parse_network,
    read_claim_value,
    read_client_id,
    read_email,
    read_email_domain,
    read_evaluator,
    read_github_name,
    require_text,
)
from authd.config.mistakes import SettingError, SettingsError, render_allowed
from authd.config.rules import (
    AnyServiceTokenRule,
    AuthMethodRule,
    CertificateRule,
    CommonNameRule,
    EmailDomainRule,
    EmailListRule,
    EmailRule,
    EveryoneRule,
    ExternalEvaluationRule,
    GeoRule,
    GithubOrganizationRule,
    GroupRule,
    IpListRule,
    IpRule,
    LoginMethodRule,
    OidcRule,
    Rule,
    ServiceTokenRule,
    TokenClaimRule,
    TokenIssuerRule,
)


@dataclass(frozen=True, slots=True)
class Selector:
    """One selector. `fields` maps the keys of the API's shape to their readers.

    A reader takes the raw value and returns the one that `create` takes, or raises SettingError.
    Optional fields stand last. A selector with a single field can be written short: `email: a@example.com`.
    """

    create: Callable[..., Rule]
    fields: Mapping[str, Callable[[Any], Any]]
    sentence: str
    optional: frozenset[str] = frozenset()


def parse_rule(raw: Any) -> Rule:
    """One rule in the API's shape or its short form. Raises SettingError or SettingsError."""
    if not isinstance(raw, dict) or not raw:
        raise SettingError("is not a rule", allowed="a selector and its value: {email_domain: example.com}")
    unknown = [_describe_unknown(key) for key in raw if key not in SELECTORS]
    if unknown:
        raise SettingsError(unknown)
    if len(raw) > 1:
        raise SettingError("holds several selectors", allowed="one selector a rule", value=", ".join(raw))
    ((key, value),) = raw.items()
    selector = SELECTORS[key]
    if not selector.fields:
        return _read_bare(key, selector, value)
    if not isinstance(value, dict):
        return _read_short(key, selector, value)
    return _read_fields(key, selector, value)


def _describe_unknown(key: str) -> SettingError:
    if key in NOT_BUILT_SELECTORS:
        message = "is a selector of Cloudflare Access that this version of authd cannot evaluate"
        return SettingError(message, path=(key,), allowed=", ".join(SELECTORS), value=key)
    return SettingError("unknown selector", path=(key,), allowed=render_allowed(SELECTORS, key), value=key)


def _read_bare(key: str, selector: Selector, value: Any) -> Rule:
    # Compared with `is` and by type: `everyone: 1` or `everyone: false` is somebody's mistake.
    if value is True or value is None or (isinstance(value, dict) and not value):
        return selector.create()
    raise SettingError("takes no value", path=(key,), allowed="true or {}")


def _read_short(key: str, selector: Selector, value: Any) -> Rule:
    if len(selector.fields) > 1:
        raise SettingError("must be a mapping", path=(key,), allowed=_render_shape(selector))
    if isinstance(value, list):
        raise SettingError("takes one value; write one rule for each", path=(key,))
    ((_, read),) = selector.fields.items()
    try:
        return selector.create(read(value))
    except SettingError as mistake:
        raise _place(mistake, (key,)) from None


def _read_fields(key: str, selector: Selector, raw: Mapping[str, Any]) -> Rule:
    mistakes = [
        SettingError("unknown key", path=(key, name), allowed=render_allowed(selector.fields, name), value=name)
        for name in raw
        if name not in selector.fields
    ]
    values = []
    for name, read in selector.fields.items():
        try:
            if name in raw or name not in selector.optional:
                values.append(read(_require_key(raw, name)))
        except SettingError as mistake:
            mistakes.append(_place(mistake, (key, name)))
    if mistakes:
        raise SettingsError(mistakes)
    return selector.create(*values)


def _require_key(raw: Mapping[str, Any], name: str) -> Any:
    if name not in raw:
        raise SettingError("is missing", value="")
    return raw[name]


def _place(mistake: SettingError, path: tuple[str, ...]) -> SettingError:
    return SettingError(mistake.message, path=path, allowed=mistake.allowed, value=mistake.value)


def _render_shape(selector: Selector) -> str:
    return "{" + ", ".join(f"{name}: ..." for name in selector.fields) + "}"


SELECTORS: Mapping[str, Selector] = {
    "email": Selector(EmailRule, {"email": read_email}, "One e-mail address."),
    "email_domain": Selector(
        EmailDomainRule,
        {"domain": read_email_domain},
        "Every address of one domain, its subdomains not included.",
    ),
    "email_list": Selector(EmailListRule, {"id": require_text}, "The addresses of a list of type `email`."),
    "everyone": Selector(EveryoneRule, {}, "Everybody; in an `allow`, everybody who can log in."),
    "ip": Selector(IpRule, {"ip": parse_network}, "A client address or network, IPv4 or IPv6."),
    "ip_list": Selector(IpListRule, {"id": require_text}, "The networks of a list of type `ip`."),
    "geo": Selector(
        GeoRule,
        {"country_code": read_country_code},
        "Visitors from one country, as `geo_database` or the edge's header says.",
    ),
    "group": Selector(GroupRule, {"id": require_text}, "A named set of rules under `groups`."),
    "login_method": Selector(
        LoginMethodRule, {"id": require_text}, "People who logged in with this identity provider."
    ),
    "auth_method": Selector(
        AuthMethodRule,
        {"auth_method": require_text},
        "People whose provider says that they used this method (`amr`, RFC 8176), such as `mfa`.",
    ),
    "oidc": Selector(
        OidcRule,
        {"claim_name": require_text, "claim_value": read_claim_value, "identity_provider_id": require_text},
        "A claim of one provider's people: the same value, or a list that holds it.",
    ),
    "github-organization": Selector(
        GithubOrganizationRule,
        {"name": read_github_name, "identity_provider_id": require_text, "team": read_github_name},
        "Members of an organisation of a `github` provider, or of one of its teams.",
        optional=frozenset({"team"}),
    ),
    "external_evaluation": Selector(
        ExternalEvaluationRule,
        {"evaluate_url": read_evaluator, "keys_url": read_evaluator},
        "People to whom an evaluator of yours says yes when they log in.",
    ),
    "token_issuer": Selector(TokenIssuerRule, {"id": require_text}, "Machines that bring a token of this issuer."),
    "token_claim": Selector(
        TokenClaimRule,
        {"claim_name": require_text, "claim_value": read_claim_value, "token_issuer_id": require_text},
        "A claim of such a machine's token: the same value, or a list that holds it.",
    ),
    "service_token": Selector(
        ServiceTokenRule, {"token_id": read_client_id}, "Machines that bring this service token, by its client id."
    ),
    "any_valid_service_token": Selector(AnyServiceTokenRule, {}, "Machines that bring any valid service token."),
    "certificate": Selector(
        CertificateRule,
        {"authority_id": require_text},
        "Whoever shows a client certificate of one of `client_certificate_authorities`.",
    ),
    "common_name": Selector(
        CommonNameRule,
        {"common_name": require_text, "authority_id": require_text},
        "A client certificate of such an authority for exactly this common name.",
    ),
}

NOT_BUILT_SELECTORS = frozenset(
    (
        "auth_context",
        "azureAD",
        "cloudflare_account_member",
        "device_posture",
        "github_organization",
        "gsuite",
        "linked_app_token",
        "okta",
        "saml",
        "user_risk_score",
    )
)


def render_rule_schema() -> dict[str, Any]:
    """The JSON Schema of one rule, both shapes of every selector."""
    return {"oneOf": [_render_selector_schema(key, selector) for key, selector in SELECTORS.items()]}


def _render_selector_schema(key: str, selector: Selector) -> dict[str, Any]:
    long_form = {
        "type": "object",
        "properties": {name: _render_field_schema(name) for name in selector.fields},
        "required": [name for name in selector.fields if name not in selector.optional],
        "additionalProperties": False,
    }
    short_form: dict[str, Any] = {"type": "string"} if selector.fields else {"enum": [True, None]}
    forms = [long_form] if len(selector.fields) > 1 else [short_form, long_form]
    return {
        "type": "object",
        "description": selector.sentence,
        "properties": {key: {"anyOf": forms}},
        "required": [key],
        "additionalProperties": False,
    }


def _render_field_schema(name: str) -> dict[str, Any]:
    return {"type": ["string", "integer", "boolean"] if name == "claim_value" else "string"}


def find_selector_key(rule: Rule) -> str:
    """`EmailRule(...)` to `email`."""
    return _KEYS[type(rule)]


_KEYS: Mapping[object, str] = {selector.create: key for key, selector in SELECTORS.items()}
