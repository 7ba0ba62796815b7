"""The policies of the reference, written again from its words and nothing else: an oracle.

Takes the raw values of the configuration, in the API's shape. Slow, plain, and independent: nothing
of authd is imported but the words of the answers. Kleene's logic is taken as three numbers here.
"""

from __future__ import annotations

import ipaddress
from typing import Any

YES, PERHAPS, NO = 2, 1, 0


def ask(rule: dict[str, Any], who: dict[str, Any] | None, ip: str, world: dict[str, Any]) -> int:
    ((kind, value),) = rule.items()
    if kind == "everyone":
        return YES
    if kind == "ip":
        return YES if ipaddress.ip_address(ip) in ipaddress.ip_network(value["ip"]) else NO
    if kind == "ip_list":
        networks = map(ipaddress.ip_network, world["lists"][value["id"]])
        return YES if any(ipaddress.ip_address(ip) in network for network in networks) else NO
    if kind == "group":
        return combine(world["groups"][value["id"]], who, ip, world)
    if who is None:
        return PERHAPS
    if kind in ("email", "email_domain", "email_list"):
        email = who["email"]
        if email is None:
            return PERHAPS
        wanted = {"email": [value.get("email")], "email_list": world["lists"].get(value.get("id"), [])}
        matched = email.split("@")[1] == value["domain"] if kind == "email_domain" else email in wanted[kind]
        return YES if matched else NO
    if kind == "oidc" and value["claim_name"] == "groups":
        if who["provider_id"] != value["identity_provider_id"]:
            return NO
        if value["claim_value"] in who["groups"]:
            return YES
        return NO if who["groups_are_complete"] else PERHAPS
    matched = {
        "login_method": lambda: who["provider_id"] == value["id"],
        "auth_method": lambda: value["auth_method"] in who["auth_methods"],
        "oidc": lambda: (
            who["provider_id"] == value["identity_provider_id"]
            and value["claim_value"] in who["claims"].get(value["claim_name"], [])
        ),
    }[kind]()
    return YES if matched else NO


def combine(policy: dict[str, Any], who: dict[str, Any] | None, ip: str, world: dict[str, Any]) -> int:
    include = max(ask(rule, who, ip, world) for rule in policy["include"])
    require = min([ask(rule, who, ip, world) for rule in policy.get("require", [])], default=YES)
    exclude = max([ask(rule, who, ip, world) for rule in policy.get("exclude", [])], default=NO)
    return min(include, require, 2 - exclude)


def decide(
    policies: list[dict[str, Any]], who: dict[str, Any] | None, ip: str, world: dict[str, Any]
) -> tuple[str, Any]:
    first = [policy for policy in policies if policy["decision"] in ("bypass", "non_identity")]
    for policy in first + [policy for policy in policies if policy not in first]:
        answer, decision = combine(policy, who, ip, world), policy["decision"]
        if decision in ("bypass", "non_identity") and answer == YES:
            return ("bypass" if decision == "bypass" else "allow"), policy["name"]
        if decision == "allow" and who is None and answer != NO:
            return "login", None
        if decision == "allow" and answer == YES:
            return "allow", policy["name"]
        if decision == "deny" and (answer == YES or (answer == PERHAPS and who is not None)):
            return "deny", policy["name"]
    return "deny", None
