"""The configuration that the demonstration writes for authd and for its identity provider."""

from __future__ import annotations

import base64
import json
import os
import secrets
from pathlib import Path

from tests.demo.settings import APPLICATIONS, Settings
from tests.harness.idp import Person

CLIENT_ID = "authd"
ALICE = Person(
    account="alice",
    claims={
        "name": "Alice",
        "email": "alice@example.com",
        "email_verified": True,
        "groups": ["engineers"],
        "note": "The policy lets her in.",
    },
    amr=("pwd", "mfa"),
)
MALLORY = Person(
    account="mallory",
    claims={
        "name": "Mallory",
        "email": "mallory@example.org",
        "email_verified": True,
        "groups": ["visitors"],
        "note": "No policy lets her in.",
    },
)
PEOPLE = (ALICE, MALLORY)

_AUTHD = """\
# The demonstration's configuration. `make demo` writes it anew at each start; change it while it runs, then
#   .venv/bin/authd check-config --config {directory}/authd.yml
team_domain: {team_domain}
listen: unix:{socket}
state: sqlite:{directory}/authd.db
secret_file: {directory}/secret

identity_providers:
  - id: demo
    type: oidc
    name: Demonstration provider
    issuer: {provider_issuer}
    client_id: {client_id}
    client_secret_file: {directory}/provider.secret
    scopes: [openid, email, profile, groups]

groups:
  - name: staff
    include: [{{email_domain: example.com}}]

applications:
"""
_APPLICATION = """\
  - id: {id}
    name: {name}
    domains: ["{host}:{port}"]
    policies:
      - name: Staff
        decision: allow
        include: [{{group: staff}}]
"""


def render_authd_config(settings: Settings) -> str:
    """The text of authd.yml."""
    text = _AUTHD.format(
        directory=settings.directory,
        team_domain=settings.team_domain,
        socket=settings.authd_socket,
        provider_issuer=settings.provider_issuer,
        client_id=CLIENT_ID,
    )
    for one in APPLICATIONS:
        text += _APPLICATION.format(id=one.id, name=one.name, host=one.host, port=settings.port)
    return text


def write_configuration(settings: Settings) -> None:
    """Write authd.yml, the secrets (kept from an earlier run: they encrypt its database), and the provider's file."""
    settings.authd_config.write_text(render_authd_config(settings))
    _ensure_secret(settings.directory / "secret")
    client_secret = _ensure_secret(settings.directory / "provider.secret")
    client = {
        "client_id": CLIENT_ID,
        "client_secret": client_secret,
        "redirect_uris": [f"{settings.issuer}/cdn-cgi/access/callback"],
    }
    people = [{"account": one.account, "amr": one.amr, "claims": one.claims} for one in PEOPLE]
    # Else the provider would remember Alice, and nobody could be Mallory after her.
    provider = {"port": settings.provider_port, "people": people, "clients": [client], "always_ask": True}
    _write_private(settings.directory / "idp.json", json.dumps(provider, indent=2))


def _ensure_secret(path: Path) -> str:
    """32 random bytes in base64, readable by their owner only."""
    if not path.exists():
        _write_private(path, base64.b64encode(secrets.token_bytes(32)).decode() + "\n")
    return path.read_text().strip()


def _write_private(path: Path, content: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(content)
