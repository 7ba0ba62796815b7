"""The selectors: their keys, their shapes on the API, their short forms, and how each is read.

Every selector is declared once, in `SELECTORS`; the reader, the JSON Schema, the words of an
error and a test of docs/policies.md all come from there. Source of the keys: Cloudflare's API
(zero_trust access policies), as access-wire 3.3 lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from authd.config.emails import parse_email, parse_email_domain
from authd.config.mistakes import SettingError, SettingsError, render_allowed
from authd.config.rules import (
    AuthMethodRule,
    EmailDomainRule,
    EmailListRule,
    EmailRule,
    EveryoneRule,
    GroupRule,
    IpListRule,
    IpRule,
    LoginMethodRule,
    OidcRule,
    Rule,
)

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Selector:
    """One selector. `fields` maps the keys of the API's shape to their readers.

    A reader takes the raw value and returns the one that `create` takes, or raises SettingError.
    A selector with a single field can be written short: `email: a@example.com`.
    """

    create: Callable[..., Rule]
    fields: Mapping[str, Callable[[Any], Any]]
    sentence: str


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


def parse_network(value: Any) -> Network:
    """`10.0.0.0/8`, `2001:db8::1`. An IPv4-mapped IPv6 network is the IPv4 one, as clients' addresses are."""
    try:
        network = ip_network(require_text(value), strict=True)
    except SettingError:
        raise
    except ValueError:
        raise SettingError(_explain_bad_network(value), allowed="10.0.0.0/8, 192.0.2.7 or 2001:db8::/32") from None
    if isinstance(network, IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return IPv4Network((mapped, network.prefixlen - 96))
    return network


def require_text(value: Any) -> str:
    """Text that is not empty. A number has to be quoted: `007` is text to people and 7 to YAML."""
    if isinstance(value, str) and value:
        return value
    if isinstance(value, (int, float)):
        raise SettingError("must be text; write it in quotes")
    raise SettingError("must be text")


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


def _explain_bad_network(value: str) -> str:
    try:
        network = ip_network(value, strict=False)
    except ValueError:
        return "is not an IP address or network"
    return f"has bits set to the right of its prefix; did you mean {network}?"


def read_email(value: Any) -> str:
    """An address as `parse_email` returns it. Raises SettingError."""
    email = parse_email(require_text(value))
    if email is None:
        raise SettingError("is not an e-mail address", allowed="name@example.com")
    return email


def _read_email_domain(value: Any) -> str:
    try:
        return parse_email_domain(require_text(value))
    except SettingError:
        raise
    except ValueError as error:
        raise SettingError(str(error), allowed="a domain such as example.com; subdomains are not meant") from None


def _read_claim_value(value: Any) -> str | int | bool:
    if isinstance(value, (bool, int)):
        return value
    return require_text(value)


SELECTORS: Mapping[str, Selector] = {
    "email": Selector(EmailRule, {"email": read_email}, "One e-mail address."),
    "email_domain": Selector(
        EmailDomainRule,
        {"domain": _read_email_domain},
        "Every address of one domain, its subdomains not included.",
    ),
    "email_list": Selector(EmailListRule, {"id": require_text}, "The addresses of a list of type `email`."),
    "everyone": Selector(EveryoneRule, {}, "Everybody; in an `allow`, everybody who can log in."),
    "ip": Selector(IpRule, {"ip": parse_network}, "A client address or network, IPv4 or IPv6."),
    "ip_list": Selector(IpListRule, {"id": require_text}, "The networks of a list of type `ip`."),
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
        {"claim_name": require_text, "claim_value": _read_claim_value, "identity_provider_id": require_text},
        "A claim of one provider's people: the same value, or a list that holds it.",
    ),
}

NOT_BUILT_SELECTORS = frozenset(
    (
        "any_valid_service_token",
        "auth_context",
        "azureAD",
        "certificate",
        "cloudflare_account_member",
        "common_name",
        "device_posture",
        "external_evaluation",
        "geo",
        "github-organization",
        "github_organization",
        "gsuite",
        "linked_app_token",
        "okta",
        "saml",
        "service_token",
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
        "required": list(selector.fields),
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
