"""Configurations to try things on. `SAMPLE` is the one of the design, as far as this version goes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from authd.config import Config, parse_config
from authd.errors import ConfigError, ConfigMistake

NOWHERE = Path("/nonexistent")

SAMPLE = """\
team_domain: auth.example.com
listen: unix:/run/authd/authd.sock
state: sqlite:/var/lib/authd/authd.db
secret_file: /etc/authd/secret
path_prefix: /cdn-cgi/access
session_duration: 24h
identity_providers:
  - id: corp
    type: oidc
    name: Company login
    issuer: https://idp.example.com
    client_id: authd
    client_secret_file: /etc/authd/corp.secret
    scopes: [openid, email, profile, groups]
    claims: [department]
groups:
  - name: engineers
    include: [{email_domain: example.com}]
applications:
  - id: grafana
    name: Grafana
    domains: [grafana.example.com, "example.org/grafana"]
    session_duration: 8h
    policies:
      - name: Engineers
        decision: allow
        include: [{group: engineers}]
        require: [{auth_method: mfa}]
        exclude: [{email: mallory@example.com}]
"""

PROVIDER = {"id": "corp", "type": "oidc", "issuer": "https://idp.example.com", "client_id": "authd"}


def parse(text: str, base_dir: Path = NOWHERE) -> Config:
    return parse_config(text, source="authd.yml", base_dir=base_dir)


def parse_values(**sections: Any) -> Config:
    """A configuration from values; JSON is YAML."""
    return parse(json.dumps({"team_domain": "auth.example.com", **sections}))


def find_mistakes(text: str, base_dir: Path = NOWHERE) -> tuple[ConfigMistake, ...]:
    with pytest.raises(ConfigError) as caught:
        parse(text, base_dir)
    return caught.value.mistakes


def find_mistakes_in_values(**sections: Any) -> tuple[ConfigMistake, ...]:
    return find_mistakes(json.dumps({"team_domain": "auth.example.com", **sections}))


def find_only_mistake(**sections: Any) -> ConfigMistake:
    (mistake,) = find_mistakes_in_values(**sections)
    return mistake


def application(**settings: Any) -> dict[str, Any]:
    """One application that lets everybody in, with what the test changes about it."""
    policy = {"name": "P", "decision": "allow", "include": [{"everyone": True}]}
    return {"id": "app", "domains": ["app.example.com"], "policies": [policy], **settings}


def application_with_rule(rule: Any, decision: str = "allow", section: str = "include") -> dict[str, Any]:
    rules = {"include": [{"everyone": True}], section: [rule]}
    return application(policies=[{"name": "P", "decision": decision, **rules}])
