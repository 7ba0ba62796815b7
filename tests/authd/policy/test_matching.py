"""Which application a request is for: the vectors, and what follows for hosts, ports and scopes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.authd.policy.samples import create_index, create_index_of_domains, load_vectors

CASES = load_vectors("application_matching.json")["cases"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_vectors(case: dict[str, Any]) -> None:
    index = create_index_of_domains(case["applications"])
    for host, path, expected in case["requests"]:
        found = index.find_application(host, path)
        assert (found.id if found else None) == expected, (host, path)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_the_order_of_the_file_does_not_matter(case: dict[str, Any]) -> None:
    index = create_index_of_domains(dict(reversed(case["applications"].items())))
    for host, path, expected in case["requests"]:
        found = index.find_application(host, path)
        assert (found.id if found else None) == expected, (host, path)


HOSTS = {
    "rest": ["a.example.com", "lone.example.com"],
    "admin": ["a.example.com/admin"],
    "wild": ["*.example.com"],
    "wildpath": ["*.example.com/hidden"],
    "bound": ["b.example.com/only/*"],
}


def test_the_whole_host_belongs_to_one_application() -> None:
    index = create_index_of_domains(HOSTS)
    owners = {
        host: [app.id for app in index.applications if index.covers_whole_host(app, host)]
        for host in ("a.example.com", "lone.example.com", "b.example.com", "c.example.com", "c.test")
    }
    assert owners == {
        "a.example.com": ["rest"],
        "lone.example.com": ["rest"],
        "b.example.com": ["wild"],
        "c.example.com": ["wild"],
        "c.test": [],
    }


def test_the_only_application_of_a_host() -> None:
    index = create_index_of_domains(HOSTS)
    only = {
        host: [app.id for app in index.applications if index.is_only_application(app, host)]
        for host in ("a.example.com", "lone.example.com", "b.example.com", "c.example.com", "c.test")
    }
    # A wildcard's path on a host whose exact application covers everything is never reached.
    assert only == {
        "a.example.com": [],
        "lone.example.com": ["rest"],
        "b.example.com": [],
        "c.example.com": [],
        "c.test": [],
    }


def test_a_decision_holds_for_the_host_only_where_every_path_is_the_same_applications() -> None:
    index = create_index_of_domains(HOSTS)
    scopes = {host: index.decision_scope(host) for host in ("a.example.com", "lone.example.com", "c.example.com", "x")}
    assert scopes == {"a.example.com": "path", "lone.example.com": "host", "c.example.com": "path", "x": "path"}


def test_what_was_said_of_a_host_is_said_again_however_many_a_wildcard_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("authd.policy.index._MOST_SCOPES", 2)
    index = create_index_of_domains({"wild": ["*.wild.test"], "bound": ["b.wild.test/in"]})
    hosts = ["b.wild.test", *(f"x{number}.wild.test" for number in range(5)), "wild.test"]
    said = [index.decision_scope(host) for host in hosts]
    assert said == ["path", "host", "host", "host", "host", "host", "path"]
    assert [index.decision_scope(host) for host in hosts] == said
    assert len(index._scopes) == 2


def test_the_applications_of_a_host_are_those_that_some_path_leads_to() -> None:
    index = create_index_of_domains(HOSTS)
    assert [app.id for app in index.applications_on("a.example.com")] == ["admin", "rest"]
    assert [app.id for app in index.applications_on("b.example.com")] == ["bound", "wildpath", "wild"]
    assert index.applications_on("c.test") == ()
    assert index.serves_host(index.get_application("bound"), "b.example.com")
    assert not index.serves_host(index.get_application("wild"), "a.example.com")


def test_ports_come_from_the_configuration_alone() -> None:
    domains = {"a": ["a.example.com:9443", "a.example.com/x"], "w": ["*.example.com:7443"], "b": ["b.example.com"]}
    index = create_index_of_domains(domains, team_domain="auth.example.com:8443")
    ports = {
        host: index.port_of(host) for host in ("a.example.com", "b.example.com", "c.example.com", "auth.example.com")
    }
    assert ports == {"a.example.com": 9443, "b.example.com": 8443, "c.example.com": 7443, "auth.example.com": 8443}
    assert index.public_origin("a.example.com") == "https://a.example.com:9443"


def test_443_is_no_port_in_an_address() -> None:
    index = create_index_of_domains({"a": ["a.example.com:443"]}, team_domain="auth.example.com")
    assert index.public_origin("a.example.com") == "https://a.example.com"
    assert index.public_origin("auth.example.com") == "https://auth.example.com"


@pytest.mark.parametrize(
    ("domains", "url"),
    [
        (["a.example.com"], "https://a.example.com/"),
        (["a.example.com:8443/x"], "https://a.example.com:8443/x"),
        (["*.example.com", "a.example.com/x/*"], "https://a.example.com/x/"),
        (["a.example.com/żółw"], "https://a.example.com/%C5%BC%C3%B3%C5%82w"),
        (["*.example.com"], None),
        (["a.example.com/x*/y"], None),
        (["taken.example.com/x"], "https://taken.example.com/x"),
    ],
)
def test_the_start_address_is_a_place_that_is_really_this_applications(domains: list[str], url: str | None) -> None:
    index = create_index_of_domains({"app": domains, "other": ["taken.example.com"]})
    assert index.find_start_url(index.get_application("app")) == url


def test_applications_are_found_by_id_and_by_aud() -> None:
    index = create_index_of_domains({"a": ["a.example.com"], "b": ["b.example.com"]})
    a, b = index.applications
    assert index.get_application("a") is index.find_by_id("a") is a
    assert index.find_by_aud(b.aud) is b
    assert index.find_by_aud(b.aud.upper()) is index.find_by_id("c") is None
    with pytest.raises(KeyError):
        index.get_application("c")


def test_what_an_application_inherits_from_the_organisation() -> None:
    provider = {"type": "oidc", "issuer": "https://idp.example.com", "client_id": "authd"}
    policy = {"name": "P", "decision": "allow", "include": [{"everyone": True}]}
    plain = {"id": "plain", "domains": ["a.example.com"], "policies": [policy]}
    own = {
        "id": "own",
        "name": "Own",
        "domains": ["b.example.com/x"],
        "session_duration": "1h",
        "allowed_idps": ["two"],
        "policies": [policy, {**policy, "session_duration": "10m"}],
    }
    index = create_index(
        identity_providers=[{**provider, "id": "one"}, {**provider, "id": "two"}],
        session_duration="12h",
        applications=[plain, own],
    )
    first, second = index.applications
    assert (first.name, first.allowed_idps) == ("plain", ("one", "two"))
    assert (second.name, second.allowed_idps) == ("Own", ("two",))
    assert [each.session_duration_seconds for each in (*first.policies, *second.policies)] == [43200, 3600, 600]
    assert (first.cookie_name, first.is_path_bound) == ("CF_AUTHORIZATION", False)
    assert (second.cookie_name, second.is_path_bound) == (f"CF_AUTHORIZATION_{second.aud[:8]}", True)


def test_the_aud_tag_is_stable_and_depends_on_team_and_id() -> None:
    """A changed derivation would log everybody out of everything: this value may never change."""
    (app,) = create_index_of_domains({"grafana": ["a.example.com"]}).applications
    assert app.aud == "521b6834a82441b9793763e8aae20ea12461aa1bf7cbc4d24282d38123bb2da6"
    (other_team,) = create_index_of_domains({"grafana": ["a.example.com"]}, team_domain="x.example.com").applications
    assert other_team.aud != app.aud


def test_policy_ids_are_stable_and_differ_by_position() -> None:
    policy = {"name": "P", "decision": "allow", "include": [{"everyone": True}]}
    index = create_index(
        applications=[{"id": "a", "domains": ["a.example.com"], "policies": [policy, policy, {**policy, "id": "mine"}]}]
    )
    ids = [policy.id for policy in index.applications[0].policies]
    assert ids[0] == "4292569b-1e6c-5f3d-a5cd-1505d3024662"
    assert len(set(ids)) == 3
    assert ids[2] == "mine"
