"""What is deployed in the lab: which hosts there are, what they are called, and what authd is to let in.

    client --- edge1 ---.         redis: the master; edge1 and edge2 have a replica, and all three a sentinel
          \\--- edge2 ---+--- origin1 (grafana.example.com): port 8080 for the edges alone
                        `--- origin2 (wiki.example.com): no port at all; it dials out to both edges

The client is the only one that knows no more than a visitor does. It also is where the identity provider runs.
"""

from __future__ import annotations

from tests.harness.idp import Person

CLIENT = "client"
EDGES = ("edge1", "edge2")
ORIGINS = ("origin1", "origin2")
STORES = ("redis", *EDGES)
NUMBERS = {"edge1": 11, "edge2": 12, "redis": 13, "origin1": 21, "origin2": 22}
CLIENTS = {CLIENT: 10}
TEAM, PROVIDER = "auth.example.com", "idp.example.net"
SERVED_BY = {"grafana.example.com": "origin1", "wiki.example.com": "origin2"}
GRAFANA, WIKI = (f"https://{host}/" for host in SERVED_BY)
# The client chooses its edge for each request; everybody else knows these.
NAMES = {PROVIDER: CLIENT}
CERTIFIED = [TEAM, *SERVED_BY, PROVIDER]
CLIENT_ID, CLIENT_SECRET = "authd", "a-secret-of-the-lab-alone"
APPLICATION_PORT = 8080
MASTER = "authd-master"

ALICE = Person("alice", {"name": "Alice", "email": "alice@example.com", "email_verified": True}, ("pwd", "mfa"))
BOB = Person("bob", {"name": "Bob", "email": "bob@example.com", "email_verified": True}, ("pwd", "mfa"))
MALLORY = Person("mallory", {"name": "Mallory", "email": "mallory@example.org", "email_verified": True})
PEOPLE = (ALICE, BOB, MALLORY)

_AUTHD = """\
team_domain: {team}
state: {state}
secret_file: /etc/authd/secret
workers: 2
login_rate_limit: {{per_address: 10000, per_person: 10000}}
identity_providers:
  - id: corp
    type: oidc
    issuer: https://{provider}
    client_id: {client_id}
    client_secret_file: /etc/authd/corp.secret
applications:
"""
_APPLICATION = """\
  - id: {id}
    name: {id}
    domains: [{host}]
    policies:
      - name: Staff
        decision: allow
        include: [{{email_domain: example.com}}]
"""


def render_authd_config(state: str) -> str:
    """The text of authd.yml."""
    text = _AUTHD.format(team=TEAM, state=state, provider=PROVIDER, client_id=CLIENT_ID)
    return text + "".join(_APPLICATION.format(id=host.partition(".")[0], host=host) for host in SERVED_BY)
