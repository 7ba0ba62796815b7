"""Cases 1 to 10 of the promise list: what arrives, and what comes of it."""

from __future__ import annotations

import gzip
import json

import pytest

from ipranges.config import FileTarget
from ipranges.errors import ExitCode
from ipranges.model import SourceOutcome, TargetOutcome
from ipranges.networks import NetworkSet, parse_network_set
from ipranges.targets import build_file_format
from tests.ipranges.edge_server import SAMPLES, EdgeServer, read_sample
from tests.ipranges.world import API, CLOUDFLARE, HOUR, World, api_body, message_of, outcome_of

V4, V6 = list(CLOUDFLARE.cidrs("v4")), list(CLOUDFLARE.cidrs("v6"))


def state_of(world: World) -> dict[str, tuple[int, bytes]]:
    """Every live file with its time of change."""
    return {str(p): (p.stat().st_mtime_ns, p.read_bytes()) for p in world.directory.glob("list*")}


def refuse_after_a_good_run(world: World, exit_code: ExitCode = ExitCode.SOURCE_FAILED) -> str:
    """The message of a second run that must change nothing, after a first one with the real list."""
    before = state_of(world)
    report = world.sync()
    assert report.exit_code == exit_code
    assert state_of(world) == before
    assert world.memory().current is not None
    assert world.memory().installed == CLOUDFLARE
    return message_of(report, "cloudflare")


def test_case_01_the_first_run_writes_every_file_and_remembers(world: World) -> None:
    report = world.sync()
    assert report.exit_code == ExitCode.OK
    assert outcome_of(report, "cloudflare") is SourceOutcome.FIRST
    assert world.listed() == CLOUDFLARE
    memory = world.memory()
    assert memory.current is not None
    assert memory.current.version == "38f79d050aa027e3be3865e495dcc9bc"
    assert memory.current.networks.address_count("v4") == 1_524_736
    assert world.store.list_generations()[0].sources == {"cloudflare": CLOUDFLARE}


@pytest.mark.parametrize("kind", ["nginx-geo", "nginx-allow", "nginx-realip", "haproxy", "caddy", "text", "json"])
def test_case_01_golden_output_of_every_file_target(kind: str, world: World) -> None:
    target = {"type": kind, "path": "/etc/edge/list", "sources": ["cloudflare"], "name": "edge"}
    world.targets = [target]
    configured = world.config.targets[0]
    assert isinstance(configured, FileTarget)
    allowed = parse_network_set(["192.0.2.10"]) if kind != "nginx-realip" else NetworkSet()
    rendered = build_file_format(configured).render("edge", CLOUDFLARE | allowed)
    assert rendered == (SAMPLES.parent / "golden" / kind).read_text()


def test_case_02_the_same_body_again_writes_nothing_and_reloads_nothing(world: World) -> None:
    log = world.directory / "reloads"
    world.targets[0]["reload"] = ["sh", "-c", f"echo reloaded >> {log}"]
    world.sync()
    before, state = state_of(world), world.memory()
    world.age(6 * HOUR)
    report = world.sync()
    assert (report.exit_code, outcome_of(report, "list")) == (ExitCode.OK, TargetOutcome.IN_SYNC)
    assert state_of(world) == before
    assert log.read_text() == "reloaded\n"
    assert world.memory() == state
    assert world.store.load_stamps()["cloudflare"].last_success_at == int(world.now)


SAME_SET = [
    api_body(V4[::-1], V6[::-1]),
    json.dumps(json.loads(api_body(V4, V6)), indent=4).encode(),
    api_body(V4, V6, messages=["hello"]),
    api_body([*V4, V4[0]], V6),
]


@pytest.mark.parametrize("body", SAME_SET, ids=["shuffled", "pretty", "other words", "repeated"])
def test_case_03_the_same_set_in_other_words_is_no_change(body: bytes, world: World) -> None:
    world.sync()
    before = state_of(world)
    world.server.serve(API, body)
    report = world.sync()
    assert (report.exit_code, outcome_of(report, "cloudflare")) == (ExitCode.OK, SourceOutcome.UNCHANGED)
    assert state_of(world) == before


@pytest.mark.parametrize("joint", [b"\n", b"\r\n", b"\t\n", b"\n\n"])
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_case_03_line_ends_make_no_other_list(joint: bytes, end: bytes, world: World) -> None:
    world.sources = [{"name": "cloudflare", "url": [world.server.url("/v4"), world.server.url("/v6")], "retries": 0}]
    world.server.serve_sample("/v4", "cloudflare-ips-v4.txt", content_type="text/plain")
    world.server.serve_sample("/v6", "cloudflare-ips-v6.txt", content_type="text/plain")
    world.sync()
    before = state_of(world)
    for path, cidrs in (("/v4", V4), ("/v6", V6)):
        world.server.serve(path, joint.join(c.encode() for c in cidrs) + end, content_type="text/plain")
    assert world.sync().exit_code == ExitCode.OK
    assert state_of(world) == before


def test_case_04_two_lists_glued_together_are_refused(world: World) -> None:
    world.sources = [{"name": "fleet", "type": "url", "url": world.server.url("/list"), "retries": 0}]
    world.use_text_target()
    v4, v6 = read_sample("cloudflare-ips-v4.txt"), read_sample("cloudflare-ips-v6.txt")
    world.server.serve("/list", v4 + b"\n" + v6, content_type="text/plain")
    world.sync()
    before = state_of(world)
    world.server.serve("/list", v4 + v6, content_type="text/plain")
    report = world.sync()
    assert report.exit_code == ExitCode.SOURCE_FAILED
    assert "131.0.72.0/222400:cb00::/32" in message_of(report, "fleet")
    assert state_of(world) == before


@pytest.mark.parametrize("kind", ["text/html; charset=UTF-8", "text/plain", "application/json"])
def test_cases_05_and_06_a_challenge_page_is_no_list_whatever_it_calls_itself(kind: str, world: World) -> None:
    world.sync()
    world.server.serve_sample(API, "error-challenge.html", content_type=kind)
    message = refuse_after_a_good_run(world)
    assert "web page" in message or "not JSON" in message
    assert not world.listed().contains("v4", 0x01000101)


@pytest.mark.parametrize("kind", ["text/html", "text/plain"])
def test_cases_05_and_06_as_text_too_no_address_is_taken_out_of_the_page(kind: str, world: World) -> None:
    world.sources = [{"name": "fleet", "type": "url", "url": world.server.url("/list"), "retries": 0}]
    world.use_text_target()
    world.server.serve_sample("/list", "error-challenge.html", content_type=kind)
    report = world.sync()
    assert report.exit_code == ExitCode.STALE
    assert not world.list_path.exists()
    assert ("'<!DOCTYPE" in message_of(report, "fleet")) == (kind == "text/plain")


def test_case_05_the_fallback_is_tried_when_the_api_gives_no_list(world: World) -> None:
    urls = [world.server.url("/v4"), world.server.url("/v6")]
    world.use_cloudflare(fallback=urls)
    world.server.serve_sample(API, "error-challenge.html", content_type="text/html")
    world.server.serve_sample("/v4", "cloudflare-ips-v4.txt", content_type="text/plain")
    world.server.serve_sample("/v6", "cloudflare-ips-v6.txt", content_type="text/plain")
    report = world.sync()
    assert report.exit_code == ExitCode.OK
    assert "web page" in message_of(report, "cloudflare")
    assert world.listed() == CLOUDFLARE


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "the body is empty"),
        (b"{}", "success: true"),
        (b'{"success":false,"result":null}', "success: true"),
        (b'{"success":true,"result":null}', "no map"),
        (api_body([], []), "the list is empty"),
        (api_body(V4, []), "no IPv6"),
        (b"null", "success: true"),
        (b"[]", "success: true"),
        (json.dumps({"success": True, "result": {"ipv4_cidrs": V4}}).encode(), "'ipv6_cidrs' is missing"),
        (json.dumps({"success": True, "result": {"ipv4_cidrs": "1", "ipv6_cidrs": V6}}).encode(), "not a list"),
    ],
)
def test_case_07_nothing_is_never_a_list(body: bytes, words: str, world: World) -> None:
    world.sync()
    world.server.serve(API, body)
    assert words in refuse_after_a_good_run(world)


def test_case_07_fastlys_empty_arrays_and_cloudflares_null_that_was_not_asked_for(world: World) -> None:
    body = json.loads(api_body(V4, V6))
    body["result"]["jdcloud_cidrs"] = None
    world.server.serve(API, json.dumps(body))
    assert world.sync().exit_code == ExitCode.OK
    assert world.listed() == CLOUDFLARE
    world.sources.append({"name": "fastly", "url": world.server.url("/f"), "retries": 0})
    world.server.serve("/f", '{"addresses":[],"ipv6_addresses":[]}')
    assert outcome_of(world.sync(), "fastly") is SourceOutcome.NO_LIST


def test_case_08_half_a_list_is_no_list(world: World) -> None:
    world.use_cloudflare(url=[world.server.url("/v4"), world.server.url("/v6")])
    world.server.serve_sample("/v4", "cloudflare-ips-v4.txt", content_type="text/plain")
    world.server.serve_sample("/v6", "cloudflare-ips-v6.txt", content_type="text/plain")
    world.sync()
    world.server.serve_sample("/v6", "error-502.html", status=502, content_type="text/html")
    assert "/v6: status 502" in refuse_after_a_good_run(world)


def test_case_09_redirects(world: World) -> None:
    world.server.serve("/", b"", status=301, headers={"Location": API})
    world.use_cloudflare(url=world.server.url("/"))
    assert world.sync().exit_code == ExitCode.OK
    for location in ("http://localhost/x", "https://evil.example/", "/"):
        world.server.serve("/", b"", status=302, headers={"Location": location})
        assert "redirect" in refuse_after_a_good_run(world)


def test_case_10_cut_slow_and_enormous_bodies(world: World, server: EdgeServer) -> None:
    world.sync()
    whole = read_sample("cloudflare-api.json")
    server.serve(API, whole[:16], announced_length=230)
    assert "shorter than announced" in refuse_after_a_good_run(world)
    world.sources[0]["deadline_seconds"] = 0.3
    server.serve(API, whole, drip_seconds=0.05)
    assert "no complete answer within 0.3 s" in refuse_after_a_good_run(world)
    world.sources[0]["deadline_seconds"] = 20
    server.serve(API, gzip.compress(b"0" * 50_000_000), headers={"Content-Encoding": "gzip"})
    assert "larger than 16777216 bytes" in refuse_after_a_good_run(world)
    server.serve(API, b" " * (16 * 1024 * 1024) + whole)
    assert "larger than 16777216 bytes" in refuse_after_a_good_run(world)


@pytest.mark.parametrize("name", ["500", "502", "504", "unicorn", "robot", "reference"])
def test_every_recorded_kind_of_error_page_ends_in_the_old_list(name: str, world: World) -> None:
    world.sync()
    for status in (200, 500):
        for kind in ("text/html", "application/json"):
            world.server.serve_sample(API, f"error-{name}.html", status=status, content_type=kind)
            refuse_after_a_good_run(world)


def test_one_failing_source_holds_up_no_other(world: World) -> None:
    world.sources.append({"name": "own", "type": "static", "cidrs": ["10.1.0.0/16"]})
    world.targets.append({"type": "text", "path": str(world.directory / "list2"), "sources": ["own"]})
    world.server.serve(API, b"")
    report = world.sync()
    assert report.exit_code == ExitCode.STALE
    assert not world.list_path.exists()
    assert "10.1.0.0/16" in (world.directory / "list2").read_text()
