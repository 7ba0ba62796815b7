"""The adapters for other gates: what is absent is named, what is no gate is found out, and what is here is measured."""

from __future__ import annotations

import argparse
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bench.load import Load
from bench.peers import measure
from bench.peers.gate import Gate, Place, Way
from bench.peers.site import PAGE, ask, forge, judge, running_site
from bench.through_nginx import Case
from tests.harness.idp import IdentityProvider, Person, start_identity_provider
from tests.harness.nginx import find_free_port

SECRET = secrets.token_urlsafe(16)


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IdentityProvider]:
    alice = Person("alice", {"email": "alice@example.com", "email_verified": True, "name": "Alice Example"})
    clients = [peer.register(SECRET) for peer in measure.PEERS.values() if peer.callback]
    with start_identity_provider(tmp_path_factory.mktemp("idp"), people=[alice], clients=clients) as running:
        yield running


def test_a_peer_is_named_with_its_path(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.touch()
    assert measure.parse_peer(f"oauth2-proxy={program}") == ("oauth2-proxy", program.resolve())


@pytest.mark.parametrize(
    ("text", "said"), [("nobody=/bin/true", "none of"), ("oauth2-proxy", "needs PATH"), ("vouch-proxy=/x/y", "'/x/y'")]
)
def test_a_peer_that_is_unknown_or_not_there_is_a_mistake(text: str, said: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=said):
        measure.parse_peer(text)


def test_what_is_absent_is_named_with_what_it_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "_search_path", lambda: "/nowhere")
    present, absent = measure.find_peers({})
    assert not present
    assert list(absent) == list(measure.PEERS)
    lines = measure.render_lines({"cases": [], "absent": absent, "failed": {}})
    assert any(line.startswith("absent: vouch-proxy (give --peer vouch-proxy=PATH") for line in lines)


def test_ratios_are_those_within_a_round() -> None:
    def of(gate: str, name: str, used: list[float]) -> measure.Named:
        return measure.Named(gate, Case(name, f"what {name} is", lambda seconds: pytest.fail("not measured")), used)

    listed = [of("none", "unprotected", []), of("none", "floor", []), of("theirs", "theirs", [90.4, 100.4, 300.0])]
    rounds = [
        {"unprotected": 100.0, "floor": 80.0, "theirs": 40.0},
        {"unprotected": 10.0, "floor": 10.0, "theirs": 1.0},
        {"unprotected": 100.0, "floor": 50.0, "theirs": 20.0},
    ]
    row = measure.summarise(rounds, listed)[-1]
    assert (row["unprotected"], row["floor"]) == ([0.2, 0.1, 0.4], [0.4, 0.1, 0.5])
    lines = measure.render_lines({"cases": [row], "absent": {}, "failed": {"other": "no gate"}})
    assert lines[-2] == ("| theirs | what theirs is | 20 | 0.20 [0.10 to 0.40] | 0.40 [0.10 to 0.50] | 100 |")


def test_all_rounds_together_take_no_longer_than_they_may() -> None:
    assert measure.choose_seconds(cases=5, rounds=5, seconds=3) == 3
    assert measure.choose_seconds(cases=25, rounds=5, seconds=3) == 1
    assert measure.choose_seconds(cases=25, rounds=50, seconds=3) == 1


def test_processor_time_of_a_process_grows_with_what_it_does() -> None:
    before = measure.read_processor_seconds(os.getpid())
    began = time.process_time()
    while time.process_time() - began < 0.1:
        pass
    assert 0.05 < measure.read_processor_seconds(os.getpid()) - before < 1


def test_a_forged_cookie_differs_in_each_value() -> None:
    assert forge("a=xAz; b=y") == "a=xBz; b=A"


@pytest.mark.nginx
@pytest.mark.parametrize(
    ("site", "said"),
    [
        ("location / { proxy_pass http://app; }", "this is no gate"),
        ("location / { return 302 /login; }", "does not open"),
        ('location / { if ($cookie_session = "") { return 302 /login; } proxy_pass http://app; }', "this is no gate"),
        ('location / { if ($cookie_session = "") { return 500; } proxy_pass http://app; }', "this is no gate"),
    ],
)
def test_what_is_no_gate_is_found_out(site: str, said: str, place: Place) -> None:
    gate = Gate("1", lambda way: site, lambda browser: browser.cookies.update({place.host: {"session": "good"}}))
    with pytest.raises(RuntimeError, match=said), running_site(gate, place):
        pass


@pytest.mark.nginx
def test_a_gate_is_reached_by_three_ways(place: Place) -> None:
    ways: list[Way] = []

    def render(way: Way) -> str:
        ways.append(way)
        return 'location / { if ($cookie_session != "good") { return 302 /login; } proxy_pass http://app; }'

    gate = Gate("1", render, lambda browser: browser.cookies.update({place.host: {"session": "good"}}))
    with running_site(gate, place) as site:
        assert [ask(port, site.host, site.cookie) for port in site.ports.values()] == [(200, PAGE)] * 3
    assert [(way.address == "gate", "proxy_cache gate" in way.directives, way.caches) for way in ways] == [
        (False, False, False),
        (True, False, False),
        (True, True, True),
        # Where people log in.
        (False, False, False),
    ]


@pytest.mark.nginx
def test_a_gate_that_does_not_start_costs_no_row_but_its_own(tmp_path: Path) -> None:
    with ExitStack() as stack:
        started = measure._start(stack, tmp_path, {"oauth2-proxy": Path("/bin/false")})
    assert {each.gate for each in started.listed} == {"none", "authd"}
    assert "did not start" in started.failed["oauth2-proxy"]
    lines = measure.render_lines({"cases": [], "absent": {}, "failed": started.failed})
    assert lines[-1].startswith("not measured: oauth2-proxy (false did not start")


def test_errors_of_others_are_said_and_ours_end_the_run() -> None:
    def of(gate: str, name: str, errors: int) -> measure.Named:
        return measure.Named(gate, Case(name, name, lambda seconds: Load(10.0, errors, 10)), [])

    bases = [of("none", "unprotected", 0), of("none", "floor", 0)]
    theirs = [*bases, of("authelia", "theirs", 1)]
    row = measure.summarise([measure._run_round(theirs, 1, 0)], theirs)[-1]
    assert "answers were errors" in measure.render_lines({"cases": [row], "absent": {}, "failed": {}})[-1]
    with pytest.raises(SystemExit, match="ours"):
        measure._run_round([*bases, of("authd", "ours", 1)], 1, 0)


@pytest.fixture
def place(tmp_path: Path, provider: IdentityProvider) -> Place:
    return Place(Path("/bin/false"), tmp_path, "app.bench", find_free_port(), provider, SECRET)


@pytest.mark.nginx
@pytest.mark.parametrize("name", list(measure.PEERS))
def test_a_gate_that_is_here_lets_in_whom_it_must(name: str, tmp_path: Path, provider: IdentityProvider) -> None:
    named = dict(map(measure.parse_peer, os.environ.get("AUTHD_BENCH_PEERS", "").split()))
    present, absent = measure.find_peers(named)
    if name not in present:
        pytest.skip(f"absent: {absent[name]}")
    peer = measure.PEERS[name]
    place = Place(present[name], tmp_path, peer.host, find_free_port(), provider, SECRET)
    with peer.run(place) as gate, running_site(gate, place) as site:
        for port in site.ports.values():
            judge(site, port)
        if gate.process:
            assert measure.read_processor_seconds(gate.process.pid) > 0
