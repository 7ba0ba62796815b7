"""Identifiers that derive from names, so that they stay the same from one reload to the next."""

from __future__ import annotations

import hashlib
import uuid

from authd.config.schema import ApplicationConfig, PolicyConfig

# Ours. Another one would change the policy_id of every token and log line.
_POLICY_NAMESPACE = uuid.UUID("6f1b9b5e-0c2d-5d0a-9a5e-3d5a3c7d9e11")


def derive_aud(team_domain: str, application: ApplicationConfig) -> str:
    """The AUD tag: `aud` if given, else 64 hexadecimal digits from team domain and application id."""
    if application.aud is not None:
        return application.aud
    material = f"authd application\n{team_domain}\n{application.id}"
    return hashlib.sha256(material.encode()).hexdigest()


def derive_policy_id(application: ApplicationConfig, policy: PolicyConfig, position: int) -> str:
    """The policy's id: `id` if given, else a UUID from application id, policy name and position."""
    if policy.id is not None:
        return policy.id
    return str(uuid.uuid5(_POLICY_NAMESPACE, f"{application.id}\n{policy.name}\n{position}"))
