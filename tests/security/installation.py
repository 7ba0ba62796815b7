"""The installation that the attacks through nginx share: one host of three applications, others of one."""

from __future__ import annotations

from typing import Any

from tests.harness.idp import Person
from tests.harness.stack import ALICE, MALLORY
from tests.security.edge import ADMINS, EVERYONE, OPEN, STAFF

ROOT = Person("root", {"email": "root@example.com", "email_verified": True, "groups": [" admins", "staff,admins"]})
PEOPLE = (ALICE, MALLORY, ROOT)

LOCAL = {"name": "Local", "decision": "bypass", "include": [{"ip": "127.0.0.2/32"}]}
NOBODY = {"name": "Nobody", "decision": "deny", "include": [{"everyone": True}]}

APPLICATIONS: list[dict[str, Any]] = [
    {"id": "grafana", "name": "Grafana", "domains": ["grafana.test"], "policies": [STAFF]},
    {"id": "wiki", "name": "Wiki", "domains": ["wiki.other.example"], "policies": [EVERYONE]},
    {"id": "site", "name": "Site", "domains": ["paths.test"], "policies": [STAFF]},
    {"id": "public", "name": "Public", "domains": ["paths.test/public"], "policies": [OPEN]},
    {"id": "admin", "name": "Admin", "domains": ["paths.test/admin"], "policies": [ADMINS]},
    {"id": "open", "name": "Open", "domains": ["open.test"], "policies": [OPEN]},
    {"id": "local", "name": "Local", "domains": ["local.test"], "policies": [LOCAL, NOBODY]},
    {
        "id": "api",
        "name": "<script>alert(1)</script>",
        "domains": ["api.test"],
        "policies": [STAFF],
        "cors_headers": {
            "allowed_origins": ["https://friend.test"],
            "allowed_methods": ["GET"],
            "allow_all_headers": True,
            "allow_credentials": True,
        },
    },
]

_LOCATION = """location {path} {{
    set $authd_app {application};
    include authd/authd-protect.conf;
    include authd/authd-identity.conf;
    proxy_pass {{app}};
}}
"""
LOCATIONS = {
    "paths.test": "".join(
        _LOCATION.format(path=path, application=application)
        for path, application in (("/", "site"), ("/public", "public"), ("/admin", "admin"))
    )
}
