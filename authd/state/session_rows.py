"""How sessions lie in the store: read back from their documents, and found by owners whose names say nothing."""

from __future__ import annotations

import hashlib
from typing import Any

from authd.model import Identity, LogoutToken, Session


def owner_of(subject: str) -> str:
    """Whose sessions they are, without saying it to whoever reads the store."""
    return hashlib.sha256(f"authd sessions of\n{subject}".encode()).hexdigest()[:32]


def logout_token_id(provider_id: str, token: LogoutToken) -> str:
    """The row that says that a logout token has done its work."""
    return hashlib.sha256(f"{provider_id}\n{token.id}".encode()).hexdigest()


def provider_owner(provider_id: str, name: str) -> str:
    """Which session of a provider they began with, without saying it either."""
    return hashlib.sha256(f"authd sessions of {provider_id}\n{name}".encode()).hexdigest()[:32]


def person_owner(provider_id: str, subject: str) -> str:
    """A person at a provider, for all sessions that the two have with us."""
    return hashlib.sha256(f"authd person of {provider_id}\n{subject}".encode()).hexdigest()[:32]


def parse_session(document: dict[str, Any]) -> Session:
    """The session of an opened row. The document is used up."""
    identity = document.pop("identity")
    identity["groups"] = tuple(identity["groups"])
    identity["auth_methods"] = tuple(identity["auth_methods"])
    identity["evaluations"] = {key: tuple(said) for key, said in identity.get("evaluations", {}).items()}
    return Session(identity=Identity(**identity), **document)
