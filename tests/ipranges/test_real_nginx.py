"""Cases 18, 19, 20 and 22 of the promise list, and the snippets in nginx/, against a real nginx."""

from __future__ import annotations

import http.client
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ipranges.errors import ApplyError, ExitCode
from ipranges.install import run as install_run
from ipranges.install.processes import find_masters, reads_any_of
from ipranges.model import TargetOutcome
from ipranges.operate import uninstall
from ipranges.targets import FileFormat
from tests.harness.nginx import NGINX, Nginx, find_free_port, running_nginx
from tests.ipranges.namespaces import require_programs, run
from tests.ipranges.world import World, message_of, outcome_of

pytestmark = pytest.mark.nginx
SNIPPETS = Path(__file__).parents[2] / "nginx"
EDGE, OUTSIDER = "127.0.0.2", "127.0.0.1"


@pytest.fixture(autouse=True)
def _nginx() -> None:
    require_programs("nginx")


class Origin:
    """A directory with the lists that ipranges writes, and a real nginx that includes them."""

    def __init__(self, world: World, server: str, http_lines: str = "") -> None:
        self.world = world
        self.port = find_free_port()
        self.directory = world.directory / "nginx"
        (world.directory / "edge").mkdir()
        world.sources = [{"name": "fleet", "type": "static", "cidrs": [f"{EDGE}/32"]}]
        commands = {
            "test": [NGINX, "-t", *self.options],
            "reload": [NGINX, "-s", "reload", *self.options],
        }
        world.targets = [
            {
                "type": kind,
                "path": str(world.directory / "edge" / file),
                "sources": ["fleet"],
                "name": file.split(".")[0],
                **commands,
            }
            for kind, file in (
                ("nginx-geo", "edge.conf"),
                ("nginx-realip", "realip.conf"),
                ("nginx-allow", "allow.conf"),
            )
        ]
        self.http = f"""
            include {world.directory}/edge/edge.conf;
            {http_lines or self.snippet("edge-realip.conf")}
            server {{ listen 127.0.0.1:{self.port}; listen [::1]:{self.port}; listen {EDGE}:{self.port};
                {server or self.snippet("edge-allow.conf")}
                location / {{ try_files /none @page; }}
                location @page {{ return 200 "$remote_addr $realip_remote_addr $edge_visitor\\n"; }}
                location = /auth {{ internal; return 401; }}
            }}"""

    @property
    def options(self) -> tuple[str, ...]:
        return ("-p", str(self.directory), "-c", str(self.directory / "nginx.conf"), "-e", "stderr")

    def snippet(self, name: str) -> str:
        text = (SNIPPETS / name).read_text()
        return text.replace("/etc/nginx/edge", str(self.world.directory / "edge"))

    @contextmanager
    def running(self) -> Iterator[Nginx]:
        # The lists are there before nginx is, as on a machine that is set up.
        configured = [dict(target) for target in self.world.targets]
        self.world.targets = [{**target, "test": [], "reload": []} for target in configured]
        assert self.world.sync().exit_code == ExitCode.OK
        self.world.targets = configured
        with running_nginx(self.directory, self.http, port=self.port) as nginx:
            yield nginx

    def ask(self, peer: str, *, path: str = "/", **headers: str) -> tuple[int, str]:
        """Status and body as seen from a peer; 0 where the connection was closed without an answer."""
        host = "::1" if ":" in peer else EDGE
        connection = http.client.HTTPConnection(host, self.port, timeout=5, source_address=(peer, 0))
        try:
            connection.request("GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()})
            answer = connection.getresponse()
            return answer.status, answer.read().decode().strip()
        except (http.client.BadStatusLine, ConnectionResetError):
            return 0, ""
        finally:
            connection.close()


@pytest.fixture
def origin(world: World) -> Origin:
    return Origin(world, "")


def test_case_22_the_edge_gets_in_with_a_visitor_and_nobody_else_does(origin: Origin) -> None:
    with origin.running():
        assert origin.ask(EDGE, CF_Connecting_IP="198.51.100.7") == (200, f"198.51.100.7 {EDGE} 1")
        assert origin.ask(EDGE) == (200, f"{EDGE} {EDGE} 0")
        assert origin.ask(EDGE, CF_Connecting_IP="nonsense") == (200, f"{EDGE} {EDGE} 0")
        assert origin.ask(OUTSIDER) == (0, "")
        assert origin.ask(OUTSIDER, CF_Connecting_IP=EDGE) == (0, "")
        assert origin.ask("::1") == (0, "")


def test_case_22_under_satisfy_any_a_match_still_needs_the_login(world: World) -> None:
    origin = Origin(world, "placeholder")
    snippet = origin.snippet("edge-allow.conf")
    page = "satisfy any; auth_request /auth; try_files /none @app;"
    origin.http = origin.http.replace(
        "placeholder", f"{snippet} location /app {{ {page} }} location @app {{ return 200 in; }}"
    )
    with origin.running():
        assert origin.ask(EDGE, path="/app", CF_Connecting_IP="198.51.100.7")[0] == 401
        assert origin.ask(OUTSIDER, path="/app") == (0, "")


def test_the_trap_that_the_allow_file_warns_of_is_real(world: World) -> None:
    """Why nginx-geo is the default: with realip, `allow` refuses every visitor who comes through the edge."""
    origin = Origin(world, f"include {world.directory}/edge/allow.conf;")
    with origin.running():
        assert origin.ask(EDGE, CF_Connecting_IP="198.51.100.7")[0] == 403


def test_a_changed_list_is_in_force_when_the_run_returns(origin: Origin) -> None:
    with origin.running():
        origin.world.sources[0]["cidrs"] = [f"{EDGE}/32", f"{OUTSIDER}/32"]
        report = origin.world.sync()
        assert report.exit_code == ExitCode.OK
        assert {r.outcome for r in report.targets} == {TargetOutcome.CHANGED}
        assert origin.ask(OUTSIDER)[0] == 200
        before = _workers(origin)
        assert origin.world.sync().exit_code == ExitCode.OK
        assert _workers(origin) == before


def test_three_files_of_one_nginx_are_one_reload(origin: Origin) -> None:
    with origin.running() as nginx:
        origin.world.sources[0]["cidrs"] = [f"{EDGE}/32", "127.0.0.3/32"]
        origin.world.sync()
        assert nginx.error_log.count("signal 1 (SIGHUP) received from") == 1


def test_case_18_a_broken_vhost_of_somebody_else_changes_nothing_and_is_named(origin: Origin) -> None:
    with origin.running() as nginx:
        before = {p: (p.read_bytes()) for p in (origin.world.directory / "edge").iterdir()}
        vhost = origin.directory / "nginx.conf"
        vhost.write_text(vhost.read_text().replace("http {", "http {\n    server { no_such_directive on; }", 1))
        origin.world.sources[0]["cidrs"] = [f"{EDGE}/32", "127.0.0.3/32"]
        report = origin.world.sync()
        assert report.exit_code == ExitCode.APPLY_FAILED
        message = message_of(report, "edge")
        assert "not ours" in message
        assert 'unknown directive "no_such_directive"' in message
        assert {p: p.read_bytes() for p in (origin.world.directory / "edge").iterdir()} == before
        assert "SIGHUP" not in nginx.error_log
        assert origin.ask(EDGE)[0] == 200
        vhost.write_text(vhost.read_text().replace("server { no_such_directive on; }", ""))
        assert origin.world.sync().exit_code == ExitCode.OK


def test_case_19_a_broken_candidate_never_reaches_the_live_file(
    origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    def render_badly(target: object) -> FileFormat:
        return FileFormat(lambda label, networks: "# Generated by ipranges\ngeo $x {\n", lambda text: _raise())

    with origin.running():
        before = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in (origin.world.directory / "edge").iterdir()}
        origin.world.sources[0]["cidrs"] = [f"{EDGE}/32", "127.0.0.3/32"]
        monkeypatch.setattr(install_run, "build_file_format", render_badly)
        report = origin.world.sync()
        assert report.exit_code == ExitCode.APPLY_FAILED
        assert "nginx does not take the new list" in message_of(report, "edge")
        after = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in (origin.world.directory / "edge").iterdir()}
        assert after == before


def test_case_20_a_reload_that_changes_no_worker_is_rolled_back(
    origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ipranges.install.nginx.PROOF_SECONDS", 0.3)
    with origin.running():
        before = {p: p.read_bytes() for p in (origin.world.directory / "edge").iterdir()}
        for target in origin.world.targets:
            target["reload"] = ["true"]
        origin.world.sources[0]["cidrs"] = [f"{EDGE}/32", "127.0.0.3/32"]
        report = origin.world.sync()
        assert report.exit_code == ExitCode.APPLY_FAILED
        assert "old workers" in message_of(report, "edge")
        assert {p: p.read_bytes() for p in (origin.world.directory / "edge").iterdir()} == before


def test_a_reload_that_fails_is_rolled_back(origin: Origin) -> None:
    with origin.running():
        for target in origin.world.targets:
            target["reload"] = ["sh", "-c", "exit 3"]
        origin.world.sources[0]["cidrs"] = ["127.0.0.3/32"]
        report = origin.world.sync()
        assert report.exit_code == ExitCode.APPLY_FAILED
        assert "`sh -c exit 3` failed" in message_of(report, "edge")
        assert "the old list was put back" in message_of(report, "edge")
        assert EDGE in (origin.world.directory / "edge" / "edge.conf").read_text()


def test_a_hand_edit_is_undone_and_told(origin: Origin) -> None:
    with origin.running():
        edited = origin.world.directory / "edge" / "edge.conf"
        edited.write_text(edited.read_text().replace("default 0;", "default 1;"))
        report = origin.world.sync()
        assert (report.exit_code, outcome_of(report, "edge")) == (ExitCode.OK, TargetOutcome.REPAIRED)
        assert "changed by somebody else" in message_of(report, "edge")
        assert "default 0;" in edited.read_text()


def test_a_file_of_somebody_else_is_never_overwritten(origin: Origin) -> None:
    theirs = origin.world.directory / "edge" / "edge.conf"
    theirs.write_text("geo $x { default 1; }\n")
    origin.world.targets = [{**target, "test": [], "reload": []} for target in origin.world.targets]
    report = origin.world.sync()
    assert report.exit_code == ExitCode.APPLY_FAILED
    assert "is not a file that ipranges wrote" in message_of(report, "edge")
    assert theirs.read_text() == "geo $x { default 1; }\n"
    assert outcome_of(report, "realip") is TargetOutcome.CHANGED


def test_before_nginx_includes_the_file_nothing_is_reloaded(origin: Origin) -> None:
    for target in origin.world.targets:
        del target["reload"]
        target["test"] = []
    report = origin.world.sync()
    assert report.exit_code == ExitCode.OK
    assert "no running nginx includes it yet" in message_of(report, "edge")


def test_after_uninstall_nginx_starts_and_nobody_is_refused(origin: Origin) -> None:
    with origin.running():
        told = uninstall(origin.world.config)
        assert all("nobody is refused any more" in line for line in told)
        assert origin.ask(OUTSIDER)[0] == 200
        run(NGINX, "-t", *origin.options)
        assert origin.world.sync().exit_code == ExitCode.OK
        assert origin.ask(OUTSIDER) == (0, "")


def test_observing_lets_everybody_in(origin: Origin) -> None:
    origin.world.targets[0]["mode"] = "observe"
    with origin.running():
        assert origin.ask(OUTSIDER)[0] == 200


def test_the_nginx_that_reads_a_file_is_told_from_others(origin: Origin) -> None:
    path = str(origin.world.directory / "edge" / "edge.conf")
    with origin.running() as nginx:
        masters = [m for m in find_masters() if reads_any_of(m, frozenset({path}))]
        assert [m.pid for m in masters] == [nginx.process.pid]
        assert len(masters[0].find_workers()) == 1
        assert not reads_any_of(masters[0], frozenset({"/etc/elsewhere.conf"}))


@contextmanager
def nginx_elsewhere(origin: Origin, mount: str, config: str) -> Iterator[int]:
    """Another nginx in a mount namespace of its own, as a container's; its master's process id."""
    place = origin.world.directory / "elsewhere"
    place.mkdir()
    (place / "nginx.conf").write_text(
        f"daemon off; pid {place}/nginx.pid; error_log stderr; events {{ }}\n"
        f"http {{ access_log off; {config} server {{ listen unix:{place}/socket; return 204; }} }}\n"
    )
    command = f"{mount} && exec {NGINX} -p {place} -c {place}/nginx.conf -e stderr"
    process = subprocess.Popen(["unshare", "--mount", "sh", "-c", command], stderr=subprocess.DEVNULL)
    try:
        ends_at = time.monotonic() + 10
        while not (place / "socket").exists():
            if process.poll() is not None or time.monotonic() > ends_at:
                pytest.skip("a mount namespace of one's own is not permitted here")
            time.sleep(0.02)
        yield process.pid
    finally:
        process.terminate()
        process.wait(timeout=10)


def test_an_nginx_whose_file_only_has_the_same_name_is_another_one(origin: Origin) -> None:
    """A container's /etc/nginx/edge is not ours: that its workers stay proves nothing about our reload."""
    edge = origin.world.directory / "edge"
    mount = f"mount -t tmpfs none {edge} && echo 'geo $edge_ok {{ default 0; }}' > {edge}/edge.conf"
    with origin.running(), nginx_elsewhere(origin, mount, f"include {edge}/edge.conf;") as stranger:
        assert stranger in [master.pid for master in find_masters()]
        origin.world.sources[0]["cidrs"] = [f"{EDGE}/32", f"{OUTSIDER}/32"]
        report = origin.world.sync()
        assert report.exit_code == ExitCode.OK, report.targets
        assert origin.ask(OUTSIDER)[0] == 200


def test_an_nginx_that_has_our_directory_mounted_elsewhere_is_found(origin: Origin) -> None:
    edge, mounted = origin.world.directory / "edge", origin.world.directory / "mounted"
    mounted.mkdir()
    with (
        origin.running(),
        nginx_elsewhere(origin, f"mount --bind {edge} {mounted}", f"include {mounted}/edge.conf;") as container,
    ):
        readers = [master.pid for master in find_masters() if reads_any_of(master, frozenset({f"{edge}/edge.conf"}))]
        assert container in readers
        assert len(readers) == 2


def test_a_pid_file_names_the_nginx_too(origin: Origin) -> None:
    for target in origin.world.targets:
        target["pid_file"] = str(origin.directory / "nginx.pid")
    with origin.running():
        origin.world.sources[0]["cidrs"] = [f"{EDGE}/32", f"{OUTSIDER}/32"]
        assert origin.world.sync().exit_code == ExitCode.OK
        assert origin.ask(OUTSIDER)[0] == 200


def test_a_program_that_is_not_installed_is_one_sentence(world: World) -> None:
    world.targets = [
        {"type": "nginx-geo", "path": str(world.directory / "x.conf"), "sources": ["cloudflare"], "name": "x"}
        | {"test": ["/nowhere/nginx", "-t"]}
    ]
    report = world.sync()
    assert report.exit_code == ExitCode.APPLY_FAILED
    assert "/nowhere/nginx is not installed" in message_of(report, "x")
    assert not (world.directory / "x.conf").exists()


def test_a_list_too_long_for_a_linear_search_is_installed_and_said(world: World) -> None:
    cidrs = [f"10.{n >> 7}.{(n & 127) * 2}.0/24" for n in range(2_100)]
    world.sources = [{"name": "own", "type": "static", "cidrs": cidrs}]
    path = str(world.directory / "allow.conf")
    world.targets = [{"type": "nginx-allow", "path": path, "sources": ["own"], "name": "allow", "test": []}]
    report = world.sync()
    assert report.exit_code == ExitCode.OK
    assert "use nginx-geo" in message_of(report, "allow")


def _workers(origin: Origin) -> frozenset[int]:
    path = str(origin.world.directory / "edge" / "edge.conf")
    return next(m for m in find_masters() if reads_any_of(m, frozenset({path}))).find_workers()


def _raise() -> object:
    raise ApplyError("unreadable")
