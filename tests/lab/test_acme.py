"""Certificates from an ACME authority, by the role nginx_edge on a machine that boots, against Pebble."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.authority import Authority, make_authority
from tests.lab.machines import Lab, Machine, wait_until
from tests.lab.playbook import Run, run_roles

HOSTS = ("auth.spare.test", "app.spare.test", "late.spare.test")
TEAM, APP, LATE = HOSTS
CHALLENGE = "/.well-known/acme-challenge/a-token"


def variables(authority: Authority, bundle: Path) -> dict[str, Any]:
    policy = {"name": "Everybody", "decision": "bypass", "include": [{"everyone": True}]}
    applications = [
        {"id": host.partition(".")[0], "name": host, "domains": [host], "policies": [policy]} for host in (APP, LATE)
    ]
    return {
        "authd_release_file": str(bundle),
        "authd_config": {
            "team_domain": TEAM,
            "workers": 1,
            "identity_providers": [
                {"id": "corp", "type": "oidc", "issuer": "https://idp.spare.test", "client_id": "authd"}
                | {"client_secret_file": "/etc/authd/corp.secret"}
            ],
            "applications": applications,
        },
        "authd_secret_files": {"corp.secret": "a-secret-of-the-lab-alone"},
        "nginx_edge_team_domain": TEAM,
        "nginx_edge_hosts": [{"domain": APP, "upstream": "http://127.0.0.1:3000", "app": "app"}],
        "nginx_edge_acme": True,
        "nginx_edge_acme_directory": authority.url,
        "nginx_edge_acme_ca_file": "/etc/ssl/authority.pem",
    }


def with_late(given: dict[str, Any]) -> dict[str, Any]:
    """The same with one host more."""
    hosts = given["nginx_edge_hosts"]
    return {**given, "nginx_edge_hosts": [*hosts, hosts[0] | {"domain": LATE, "app": "late"}]}


@pytest.fixture(scope="module")
def authority(spare: Lab) -> Iterator[Authority]:
    made = make_authority(spare, "authority")
    with made.running():
        yield made


@pytest.fixture(scope="module")
def given(authority: Authority, bundle: Path) -> dict[str, Any]:
    """What Ansible is told."""
    return variables(authority, bundle)


@pytest.fixture(scope="module")
def machine(spare: Lab, authority: Authority, given: dict[str, Any]) -> Machine:
    """Deployed. In the order of its life; each test begins where the one before has ended."""
    spare["spare"].write("/etc/ssl/authority.pem", authority.ca)
    run_roles(spare, "spare", ["authd", "nginx_edge"], given).must()
    return spare["spare"]


def play(spare: Lab, given: dict[str, Any]) -> Run:
    return run_roles(spare, "spare", ["nginx_edge"], given)


def shown(spare: Lab, host: str) -> str:
    """Who signed what nginx shows for a host, and its serial number."""
    name = ["-connect", f"{spare['spare'].address}:443", "-servername", host]
    found = spare.as_operator(
        "sh", "-c", 'openssl s_client "$@" </dev/null | openssl x509 -noout -issuer -serial', "-", *name
    )
    return found.stdout


def ask(spare: Lab, url: str) -> str:
    """Status, and where it redirects to."""
    return spare.as_operator("curl", "-sk", "-o", "/dev/null", "-w", "%{http_code} %{redirect_url}", url).stdout.strip()


@contextlib.contextmanager
def unreachable(machine: Machine, address: str) -> Iterator[None]:
    """The machine learns at once that nothing is there; with a cable that is out it would wait."""
    machine.run("ip", "route", "add", "unreachable", address)
    try:
        yield
    finally:
        machine.run("ip", "route", "del", "unreachable", address)


@pytest.mark.parametrize("host", [TEAM, APP])
def test_every_host_has_a_certificate_of_the_authority(spare: Lab, machine: Machine, host: str) -> None:
    assert "Pebble Intermediate" in shown(spare, host)
    assert machine.shell(f"stat -c '%a %U' /etc/nginx/tls/{host}.pem") == "600 root\n"


def test_port_80_answers_the_authority_and_sends_everybody_else_to_https(spare: Lab, machine: Machine) -> None:
    machine.shell(
        "echo yes >/var/lib/authd-acme/challenges/a-token; ln -sf /etc/passwd /var/lib/authd-acme/challenges/link"
    )
    assert ask(spare, f"http://{APP}{CHALLENGE}") == "200"
    assert ask(spare, f"http://{APP}/.well-known/acme-challenge/other") == "404"
    assert ask(spare, f"http://{APP}/.well-known/acme-challenge/link") == "403"
    assert ask(spare, f"http://{APP}/.well-known/acme-challenge/") == "403"
    assert ask(spare, f"http://{APP}/page?q=1") == f"301 https://{APP}/page?q=1"
    machine.shell("rm /var/lib/authd-acme/challenges/*")


def test_the_unit_runs_with_few_rights_and_by_a_timer(machine: Machine) -> None:
    said = machine.shell("systemd-analyze security --no-pager authd-acme.service | tail -n 1")
    assert float(re.findall(r"\d+\.\d+", said)[0]) < 3.0
    assert (
        machine.shell("systemctl is-active authd-acme.timer; systemctl is-enabled authd-acme.timer")
        == "active\nenabled\n"
    )
    assert machine.shell("find /var/lib/authd-acme -name '*.pem' -user authd-acme | wc -l") != "0\n"


def test_a_second_run_changes_nothing(spare: Lab, machine: Machine, given: dict[str, Any]) -> None:
    again = play(spare, given).must()
    assert again.changed == {"spare": 0}, again.changes


SETTINGS = "/etc/authd-acme/settings.json"
RENEW_NOW = f'cp {SETTINGS} /srv/kept.json; sed -i \'s/"renew_days": [0-9]*/"renew_days": 36500/\' {SETTINGS}'
RENEW_LATER = f"mv /srv/kept.json {SETTINGS}"


def test_a_certificate_that_ends_soon_is_renewed_and_shown(spare: Lab, machine: Machine) -> None:
    before = shown(spare, APP)
    master = machine.shell("cat /run/nginx.pid")
    machine.shell(f"{RENEW_NOW}; systemctl start authd-acme; {RENEW_LATER}")
    # A reload is over when nginx says so, and shows the new certificate a moment later.
    wait_until(lambda: shown(spare, APP) != before, "nginx shows the new certificate", seconds=10)
    assert "Pebble" in shown(spare, APP)
    assert machine.shell("cat /run/nginx.pid") == master, "reloaded, and not restarted"


def test_with_the_authority_gone_only_what_ends_soon_fails_and_the_old_certificate_stays(
    spare: Lab, machine: Machine
) -> None:
    before = shown(spare, APP)
    with unreachable(machine, spare.network.address("authority")):
        machine.run("systemctl", "start", "authd-acme")
        machine.shell(RENEW_NOW)
        assert machine.run("systemctl", "start", "authd-acme", check=False).returncode
    assert f"authd-acme: {APP} got no certificate: " in machine.shell("journalctl -u authd-acme -o cat -n 30")
    assert shown(spare, APP) == before
    machine.shell(f"{RENEW_LATER}; systemctl reset-failed authd-acme; nginx -t -q")


def test_a_new_host_without_an_authority_ends_in_one_sentence_and_the_others_go_on(
    spare: Lab, machine: Machine, given: dict[str, Any]
) -> None:
    with unreachable(machine, spare.network.address("authority")):
        played = play(spare, with_late(given))
    said = re.search(f"{LATE} got no certificate: .* nginx runs and shows browsers", played.output)
    assert (said is not None, APP in said[0] if said else "") == (True, False), played.output[-3000:]
    machine.shell("nginx -t -q; systemctl restart nginx; systemctl is-active nginx; systemctl reset-failed")
    assert "no certificate yet" in shown(spare, LATE)
    assert "Pebble" in shown(spare, APP)
    assert ask(spare, f"https://{LATE}/").startswith("502")


def test_the_next_run_gets_it_and_mends_a_file_that_was_cut_off(
    spare: Lab, machine: Machine, given: dict[str, Any]
) -> None:
    before = shown(spare, APP)
    machine.shell(f"systemctl stop nginx; truncate -s 100 /etc/nginx/tls/{APP}.pem")
    play(spare, with_late(given)).must()
    wait_until(lambda: "Pebble" in shown(spare, LATE), "nginx shows the new certificate", seconds=10)
    assert shown(spare, APP) == before


def test_what_the_authority_gave_waits_while_nginx_is_broken(spare: Lab, machine: Machine) -> None:
    before = shown(spare, APP)
    machine.write("/etc/nginx/conf.d/foreign.conf", "nonsense;\n")
    machine.shell(RENEW_NOW)
    assert machine.run("systemctl", "start", "authd-acme", check=False).returncode
    assert "wait until nginx accepts its configuration" in machine.shell("journalctl -u authd-acme -o cat -n 5")
    machine.shell(f"rm /etc/nginx/conf.d/foreign.conf; {RENEW_LATER}; nginx -t -q; systemctl restart nginx")
    assert shown(spare, APP) == before
    machine.shell("systemctl reset-failed authd-acme; systemctl start authd-acme")
    wait_until(lambda: shown(spare, APP) != before, "nginx shows what had waited", seconds=10)
