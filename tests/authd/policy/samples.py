"""People, places and small configurations for the tests of policies."""

from __future__ import annotations

import json
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from authd.config import parse_config
from authd.model import Facts, Identity
from authd.policy import PolicyIndex, build_index

VECTORS = Path(__file__).parents[2] / "vectors"


def load_vectors(name: str) -> Any:
    return json.loads((VECTORS / name).read_text(encoding="utf-8"))


def create_index(**sections: Any) -> PolicyIndex:
    """An index from values; JSON is YAML, so the real parser and all its checks are in the way."""
    text = json.dumps({"team_domain": "auth.example.com", **sections})
    return build_index(parse_config(text, source="test", base_dir=Path("/nonexistent")))


def create_index_of_domains(applications: dict[str, list[str]], **sections: Any) -> PolicyIndex:
    policy = {"name": "P", "decision": "allow", "include": [{"everyone": True}]}
    return create_index(
        applications=[{"id": name, "domains": domains, "policies": [policy]} for name, domains in applications.items()],
        **sections,
    )


def create_person(**settings: Any) -> Identity:
    """An identity from values as JSON has them; whatever is not said is empty."""
    values = {
        "subject": "5b2c0e7c-8a3d-5a63-9a4f-1f1f6f3a7e11",
        "provider_id": "corp",
        "provider_subject": "248289761001",
        "email": None,
        "unverified_email": settings.get("email"),
        "name": None,
        "claims": {},
        **settings,
    }
    for name in ("groups", "auth_methods"):
        values[name] = tuple(values.get(name, ()))
    return Identity(**values)


def create_facts(person: Identity | None, ip: str = "192.0.2.1") -> Facts:
    return Facts(client_ip=ip_address(ip), identity=person)
