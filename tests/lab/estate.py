"""What is deployed in the lab: which hosts there are, what they are called, and who is let in.

    client --- edge1 ---.         redis: the master; edge1 and edge2 have a replica, and all three a sentinel
          \\--- edge2 ---+--- origin1 (grafana.example.com): port 3000 for the edges alone
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
TEAM, PROVIDER = "auth.example.com", "idp.example.com"
SERVED_BY = {"grafana.example.com": "origin1", "wiki.example.com": "origin2"}
GRAFANA, WIKI = (f"https://{host}/" for host in SERVED_BY)
# As the example's inventory calls a machine.
NAMED = {host: f"{host}.example.com" for host in NUMBERS}
# The client chooses its edge for each request; everybody else knows these.
NAMES = {PROVIDER: CLIENT, **{name: host for host, name in NAMED.items()}}
CERTIFIED = [TEAM, *SERVED_BY, PROVIDER, *(NAMED[host] for host in STORES)]
# The authority alone; a test that needs a user names it.
REDIS_CLI = ("redis-cli", "--tls", "--cacert", "/etc/redis/tls/ca.crt")
# What authd promises.
REVOKED_WITHIN_SECONDS = 2
CLIENT_ID, CLIENT_SECRET = "authd", "a-secret-of-the-lab-alone"
# Where their applications listen: one for the edges, the other for its own tunnel alone.
LISTENING = {"origin1": ("0.0.0.0", 3000), "origin2": ("127.0.0.1", 8080)}

ALICE = Person("alice", {"name": "Alice", "email": "alice@example.com", "email_verified": True}, ("pwd", "mfa"))
BOB = Person("bob", {"name": "Bob", "email": "bob@example.com", "email_verified": True}, ("pwd", "mfa"))
MALLORY = Person("mallory", {"name": "Mallory", "email": "mallory@example.org", "email_verified": True})
PEOPLE = (ALICE, BOB, MALLORY)
