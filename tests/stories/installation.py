"""The installation that most stories happen in: one host for each thing that a story is about."""

from __future__ import annotations

from typing import Any

FRONTEND = "https://frontend.example"
EVERYONE = [{"name": "Everyone", "decision": "allow", "include": [{"everyone": True}]}]
STAFF = [{"name": "Staff", "decision": "allow", "include": [{"email_domain": "example.com"}]}]

SECTIONS = ("docs", "mail", "forms")

APPLICATIONS: list[dict[str, Any]] = [
    {"id": "grafana", "name": "Grafana", "domains": ["grafana.test"], "policies": STAFF},
    {"id": "wiki", "name": "Wiki", "domains": ["wiki.other.example"], "policies": EVERYONE},
    {"id": "tenants", "name": "Tenants", "domains": ["*.apps.test"], "policies": EVERYONE},
    {"id": "intranet", "name": "Intranet", "domains": ["shared.test"], "policies": EVERYONE},
    {"id": "intranet-admin", "name": "Administration", "domains": ["shared.test/admin"], "policies": STAFF},
    *({"id": f"intranet-{name}", "domains": [f"shared.test/{name}"], "policies": EVERYONE} for name in SECTIONS),
    {"id": "brief", "name": "Brief", "domains": ["brief.test"], "session_duration": "2s", "policies": EVERYONE},
    {"id": "hooks", "domains": ["hooks.test"], "options_preflight_bypass": True, "policies": EVERYONE},
    {
        "id": "api",
        "domains": ["api.test"],
        "policies": EVERYONE,
        "cors_headers": {
            "allowed_origins": [FRONTEND],
            "allowed_methods": ["GET", "PUT"],
            "allowed_headers": ["Content-Type", "X-Trace"],
            "allow_credentials": True,
            "max_age": 600,
        },
    },
    {
        "id": "vault",
        "name": "Vault",
        "domains": ["vault.test"],
        "custom_deny_message": "Ask Vera in room 12.",
        "policies": [
            {"name": "Never Alice", "decision": "deny", "include": [{"email": "alice@example.com"}]},
            *EVERYONE,
        ],
    },
    {
        "id": "open",
        "domains": ["open.test"],
        "policies": [{"name": "Public", "decision": "bypass", "include": [{"everyone": True}]}],
    },
]


def render_location(path: str, application_id: str) -> str:
    """An nginx location of an application, as its operator writes it."""
    return f"""location {path} {{
        set $authd_app {application_id};
        include authd/authd-protect.conf;
        include authd/authd-identity.conf;
        proxy_pass {{app}};
    }}"""


LOCATIONS = {
    "shared.test": "\n".join(
        [render_location("/", "intranet")]
        + [render_location(f"^~ /{name}", f"intranet-{name}") for name in ("admin", *SECTIONS)]
    )
}
