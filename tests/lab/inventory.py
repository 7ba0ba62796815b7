"""The inventory of the lab: `ansible/inventory/two-edges.yml` itself, with the lab's machines in it."""

from __future__ import annotations

import json
import secrets
from base64 import b64encode
from pathlib import Path
from typing import Any

import yaml

from tests.lab.estate import CLIENT_SECRET, NAMED, SERVED_BY, STORES, TEAM
from tests.lab.machines import Lab
from tests.lab.network import NETWORK, OPERATOR

_EXAMPLE = Path(__file__).parents[2] / "ansible/inventory/two-edges.yml"
_ADDRESSES = {
    "198.51.100.11": "edge1",
    "203.0.113.11": "edge2",
    "198.51.100.31": "redis",
    "198.51.100.21": "origin1",
}


def write_inventory(lab: Lab, certificates: Path, directory: Path) -> Path:
    """The file. `certificates` holds ca.pem, and server.pem with its key for every name of the estate."""
    inventory = _translate(lab)
    # The lab asks more often than people do, and on two cores.
    inventory["edges"]["vars"]["authd_config"] |= {
        "workers": 2,
        "login_rate_limit": {"per_address": 10000, "per_person": 10000},
    }
    key = (certificates / "server.key").read_text()
    pair = {"certificate": (certificates / "server.pem").read_text(), "key": key}
    inventory["all"]["vars"] |= {
        # The operator comes in as root.
        "ansible_become": False,
        "vault_authd_secret": b64encode(secrets.token_bytes(32)).decode(),
        "vault_corp_client_secret": CLIENT_SECRET,
        "vault_redis_password": secrets.token_urlsafe(32),
        "vault_redis_replication_password": secrets.token_urlsafe(32),
        "vault_redis_certificate_keys": {NAMED[host]: key for host in STORES},
        "nginx_edge_certificates": dict.fromkeys([TEAM, *SERVED_BY], pair),
    }
    path = directory / "two-edges.json"
    path.write_text(json.dumps(inventory))
    path.chmod(0o600)
    return path


def write_files(certificates: Path, directory: Path) -> None:
    """What the example looks up beside its playbook."""
    directory.mkdir()
    (directory / "redis-ca.crt").write_text((certificates / "ca.pem").read_text())
    for name in STORES:
        (directory / f"{NAMED[name]}.crt").write_text((certificates / "server.pem").read_text())


def _translate(lab: Lab) -> dict[str, Any]:
    """Addresses of documentation become the lab's; the names are. Raises ValueError if the example has none."""
    text = _EXAMPLE.read_text()
    addresses = {example: lab.network.address(name) for example, name in _ADDRESSES.items()}
    for example, ours in {**addresses, "192.0.2.0/24": f"{NETWORK}.{OPERATOR}/32"}.items():
        if example not in text:
            raise ValueError(f"{_EXAMPLE.name} has no {example}")
        text = text.replace(example, ours)
    found: dict[str, Any] = yaml.safe_load(text)
    return found
