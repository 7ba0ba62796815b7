"""Every gate that is here, and authd, in each round: ratios to no protection and to nginx' own check, in that round.

A gate that is absent is named, with what `--peer` has to say for it.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from subprocess import CalledProcessError
from typing import Any

from bench.installation import HOST, run_installation
from bench.load import Load, run_wrk
from bench.peers.authelia import AUTHELIA
from bench.peers.gate import ACCOUNT, Gate, Place
from bench.peers.lua_resty_openidc import LUA_RESTY_OPENIDC
from bench.peers.nginx_ldap_auth_service import NGINX_LDAP_AUTH_SERVICE
from bench.peers.oauth2_proxy import OAUTH2_PROXY
from bench.peers.site import Site, judge, running_site
from bench.peers.vouch_proxy import VOUCH_PROXY
from bench.through_nginx import Case
from tests.harness.idp import IdentityProvider, IdentityProviderError, Person, start_identity_provider
from tests.harness.nginx import NginxRefusedError, find_free_port

PEERS = {peer.name: peer for peer in (OAUTH2_PROXY, VOUCH_PROXY, AUTHELIA, LUA_RESTY_OPENIDC, NGINX_LDAP_AUTH_SERVICE)}
# What all rounds together may take, without starting: the rest of the time is other parts'.
_MOST_SECONDS = 130
_WHAT = {
    "documented": "asked each time, as documented",
    "kept": "asked each time, connections kept open",
    "cached": "cached by nginx",
}
_MOST_REST_SECONDS = 5.0
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Named:
    """A case and whose it is. `used` receives microseconds of the gate's processor time for a request, per round."""

    gate: str
    case: Case
    used: list[float]


@dataclass(frozen=True, slots=True)
class Started:
    """What is measured, the versions of others' gates, and why one that is here is not among them."""

    listed: list[Named]
    versions: dict[str, str]
    failed: dict[str, str]


def parse_peer(text: str) -> tuple[str, Path]:
    """`NAME=PATH` of the command line. Raises argparse.ArgumentTypeError."""
    name, _, path = text.partition("=")
    if name not in PEERS:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(PEERS)}")
    if not path or not Path(path).exists():
        raise argparse.ArgumentTypeError(f"{path!r} does not exist; {name} needs PATH of {PEERS[name].wants}")
    return name, Path(path).resolve()


def find_peers(named: Mapping[str, Path]) -> tuple[dict[str, Path], dict[str, str]]:
    """Paths of the gates that are here, and for each other one what it lacks."""
    present, absent = {}, {}
    for name, peer in PEERS.items():
        path = named.get(name) or _find_program(peer.program)
        missing = [program for program in peer.needs if not shutil.which(program, path=_search_path())]
        if path is None:
            absent[name] = f"give --peer {name}=PATH, {peer.wants}"
        elif missing:
            absent[name] = f"needs {', '.join(missing)}"
        else:
            present[name] = path
    return present, absent


def measure_peers(directory: Path, rounds: int, seconds: int, named: Mapping[str, Path]) -> dict[str, Any]:
    """Cases, versions, and why a gate has none: it is not here (`absent`), or did not stand the proof (`failed`)."""
    present, absent = find_peers(named)
    with ExitStack() as stack:
        started = _start(stack, directory, present)
        seconds = choose_seconds(len(started.listed), rounds, seconds)
        taken = [_run_round(started.listed, seconds, number) for number in range(rounds)]
    return {
        "seconds": seconds,
        "versions": started.versions,
        "absent": absent,
        "failed": started.failed,
        "cases": summarise(taken, started.listed),
    }


def choose_seconds(cases: int, rounds: int, seconds: int) -> int:
    """How long each case is loaded: what was asked for, but all of them together no longer than _MOST_SECONDS."""
    return max(1, min(seconds, _MOST_SECONDS // (cases * rounds)))


def _run_round(listed: Sequence[Named], seconds: int, number: int) -> dict[str, float]:
    """Requests a second of each case; not a number where another's gate failed. Ours may not: SystemExit."""
    print(f"round {number + 1}: ", end="", file=sys.stderr, flush=True)
    rates = {}
    for each in listed:
        name = each.case.name
        try:
            rates[name] = _load(each, seconds)
        except RuntimeError as error:
            if each.gate not in PEERS:
                raise SystemExit(f"{name}: {error}; the figure would mean nothing") from error
            print(f"{error}  ", end="", file=sys.stderr)
            rates[name] = math.nan
        print(f"{name} {rates[name]:,.0f}/s  ", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return rates


def _load(each: Named, seconds: int) -> float:
    load = each.case.run(seconds)
    if load.errors:
        raise RuntimeError(f"{load.errors} of {load.requests} answers were errors")
    return load.requests_per_second


def summarise(rounds: Sequence[dict[str, float]], listed: Sequence[Named]) -> list[dict[str, Any]]:
    """A row for each case, with its ratio to `unprotected` and to `floor`: median, least and greatest."""
    rows = []
    for each in listed:
        name = each.case.name
        row: dict[str, Any] = {"gate": each.gate, "case": name, "what": each.case.what}
        rows.append(row)
        if any(math.isnan(rates[name]) for rates in rounds):
            row["requests_per_second"] = None
            continue
        row["requests_per_second"] = round(median(rates[name] for rates in rounds))
        for base in ("unprotected", "floor"):
            ratios = [rates[name] / rates[base] for rates in rounds]
            row[base] = [round(value, 3) for value in (median(ratios), min(ratios), max(ratios))]
        row["gate_us"] = round(median(each.used)) if each.used else None
    return rows


def render_lines(found: dict[str, Any]) -> list[str]:
    """The table, and a line for each gate that is absent."""
    head = ["| gate | case | requests/s | of unprotected | of the floor | the gate's processor time, µs |"]
    head.append("| --- | --- | ---: | --- | --- | ---: |")
    missing = [f"absent: {name} ({why})" for name, why in found["absent"].items()]
    failed = [f"not measured: {name} ({why})" for name, why in found["failed"].items()]
    return [*head, *map(_render_row, found["cases"]), *missing, *failed]


def _render_row(row: dict[str, Any]) -> str:
    if row["requests_per_second"] is None:
        return f"| {row['gate']} | {row['what']} | answers were errors | | | |"
    ratios = " | ".join(
        f"{row[base][0]:.2f} [{row[base][1]:.2f} to {row[base][2]:.2f}]" for base in ("unprotected", "floor")
    )
    used = "" if row["gate_us"] is None else row["gate_us"]
    return f"| {row['gate']} | {row['what']} | {row['requests_per_second']:,} | {ratios} | {used} |"


def _start(stack: ExitStack, directory: Path, present: Mapping[str, Path]) -> Started:
    """Everything at once: each case is measured in each round."""
    started = Started(_start_authd(stack, directory), {}, {})
    client_secret = secrets.token_urlsafe(32)
    provider = stack.enter_context(_run_provider(directory, present, client_secret)) if present else None
    for name, path in present.items():
        assert provider is not None
        print(f"starting {name} ...", file=sys.stderr, flush=True)
        place = Place(path, directory / name, PEERS[name].host, find_free_port(), provider, client_secret)
        place.directory.mkdir()
        with ExitStack() as its_own:
            try:
                gate = its_own.enter_context(PEERS[name].run(place))
                site = its_own.enter_context(running_site(gate, place))
            except (RuntimeError, OSError, NginxRefusedError, IdentityProviderError, CalledProcessError) as error:
                # Somebody else's program is no reason to lose everybody's figures.
                started.failed[name] = str(error)
                continue
            stack.push(its_own.pop_all())
        started.versions[name] = gate.version
        started.listed.extend(_list_cases(name, gate, site))
    return started


@contextlib.contextmanager
def _run_provider(directory: Path, present: Mapping[str, Path], client_secret: str) -> Iterator[IdentityProvider]:
    alice = Person(ACCOUNT, {"email": f"{ACCOUNT}@example.com", "email_verified": True, "name": "Alice Example"})
    clients = [PEERS[name].register(client_secret) for name in present if PEERS[name].callback]
    with start_identity_provider(directory, people=[alice], clients=clients) as provider:
        yield provider


def _start_authd(stack: ExitStack, directory: Path) -> list[Named]:
    uncached = stack.enter_context(run_installation(directory / "uncached"))
    cached = stack.enter_context(run_installation(directory / "cached", decision_cache_seconds=1))

    def case(name: str, what: str, port: int, cookie: str = "", process: int | None = None) -> Named:
        used: list[float] = []
        measured = _timed(lambda seconds: run_wrk(port, host=HOST, seconds=seconds, cookie=cookie), process, used)
        return Named("authd" if process else "none", Case(name, what, measured), used)

    return [
        case("unprotected", "no protection", uncached.plain_port),
        case("floor", "auth_request, answered by nginx itself with 204", uncached.floor_port),
        case("authd uncached", "asked each time", uncached.port, uncached.cookie, uncached.server.pid),
        case("authd cached", "cached by nginx", cached.port, cached.cookie, cached.server.pid),
        case("authd anonymous", "anonymous", uncached.port, process=uncached.server.pid),
    ]


def _list_cases(name: str, gate: Gate, site: Site) -> list[Named]:
    process = gate.process.pid if gate.process else None

    def case(kind: str, what: str, port: int, cookie: str) -> Named:
        def load(seconds: int) -> Load:
            return run_wrk(port, host=site.host, seconds=seconds, cookie=cookie)

        # wrk takes a redirect for good: that the session still holds is seen after it.
        used: list[float] = []
        measured = _timed(load, process, used, after=lambda: judge(site, port))
        return Named(name, Case(f"{name} {kind}", what, measured), used)

    cases = [case(kind, _WHAT[kind], port, site.cookie) for kind, port in site.ports.items()]
    return [*cases, case("anonymous", "anonymous", site.ports["documented"], "")]


def _timed(
    load: Callable[[int], Load], process: int | None, used: list[float], after: Callable[[], None] = lambda: None
) -> Callable[[int], Load]:
    """The same load, which also notes the processor time that a process and its children took for a request.

    It returns when they rest: a slow gate still works at what it was asked when nobody waits for it any more.
    """

    def run(seconds: int) -> Load:
        before = read_processor_seconds(process) if process else 0.0
        found = load(seconds)
        if process and found.requests:
            used.append((read_processor_seconds(process) - before) / found.requests * 1e6)
        after()
        if process:
            _wait_until_idle(process)
        return found

    return run


def _wait_until_idle(process: int) -> None:
    deadline = time.monotonic() + _MOST_REST_SECONDS
    before = -1.0
    while (now := read_processor_seconds(process)) > before and time.monotonic() < deadline:
        before = now
        time.sleep(0.1)


def read_processor_seconds(pid: int) -> float:
    """What a process and its children have used, as the kernel counts: in ticks of 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return (int(fields[11]) + int(fields[12])) / _TICKS + sum(read_processor_seconds(int(child)) for child in children)


def _find_program(program: str) -> Path | None:
    found = shutil.which(program, path=_search_path()) if program else None
    return Path(found).resolve() if found else None


def _search_path() -> str:
    return f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"
