"""Cases 11 to 16 of the promise list: how far an edition may differ, and what then happens."""

from __future__ import annotations

import json

import pytest

from ipranges.errors import ExitCode, NotAllowedError
from ipranges.model import SourceOutcome, TargetOutcome
from ipranges.networks import parse_network_set
from ipranges.operate import approve
from ipranges.report.diff import render_diff
from ipranges.report.why import explain_address, render_explanation
from ipranges.sync import preview
from tests.ipranges.edge_server import read_sample
from tests.ipranges.world import API, CLOUDFLARE, HOUR, World, api_body, message_of, outcome_of

V4, V6 = list(CLOUDFLARE.cidrs("v4")), list(CLOUDFLARE.cidrs("v6"))


def use_cloudfront(world: World, body: bytes) -> None:
    world.sources = [{"name": "cloudfront", "url": world.server.url("/aws"), "retries": 0}]
    world.server.serve("/aws", body)
    world.use_text_target()


def test_case_11_the_real_change_of_2021_is_accepted_and_what_left_goes_after_a_day(world: World) -> None:
    world.server.serve_sample(API, "cloudflare-api-before-2021-04.json")
    world.sync()
    world.server.serve_sample(API, "cloudflare-api.json")
    world.age(6 * HOUR)
    report = world.sync()
    assert (report.exit_code, outcome_of(report, "cloudflare")) == (ExitCode.OK, SourceOutcome.CHANGED)
    left = parse_network_set(["104.28.0.0/14"])
    assert world.listed() == CLOUDFLARE | left
    why = render_explanation(explain_address(world.config, "104.28.28.1", world.runtime), world.config)
    assert "104.28.0.0/14 is no longer published by cloudflare" in why
    assert "seen 1 time(s) without it" in why
    assert "list: allowed" in why
    for _ in range(3):
        world.age(6 * HOUR)
        world.sync()
    assert world.listed() == CLOUDFLARE | left
    world.age(6 * HOUR)
    report = world.sync()
    assert world.listed() == CLOUDFLARE
    assert [r.removed.all_cidrs for r in report.targets] == [("104.28.0.0/14",)]
    assert "list: not allowed" in render_explanation(
        explain_address(world.config, "104.28.28.1", world.runtime), world.config
    )


def test_case_12_akamais_real_cut_is_held_shown_and_approved_by_its_digest(world: World) -> None:
    world.sources = [{"name": "akamai", "url": [world.server.url("/v4"), world.server.url("/v6")], "retries": 0}]
    world.use_text_target()
    world.server.serve_sample("/v4", "akamai-v4-before-2024-10-cut.txt", content_type="text/plain")
    world.server.serve_sample("/v6", "akamai-v6.txt", content_type="text/plain")
    world.sync()
    before = world.list_path.read_bytes()
    world.server.serve_sample("/v4", "akamai-v4.txt", content_type="text/plain")
    report = world.sync()
    assert (report.exit_code, outcome_of(report, "akamai")) == (ExitCode.HELD, SourceOutcome.HELD)
    assert "retains 0.5" in message_of(report, "akamai")
    assert world.list_path.read_bytes() == before
    shown = render_diff(*preview(world.config, world.runtime))
    assert "- 104.64.0.0/10" in shown
    assert "accept it: ipranges approve akamai " in shown
    candidate = world.memory("akamai").candidate
    assert candidate is not None
    with pytest.raises(NotAllowedError):
        approve(world.config, "akamai", "0" * 64, world.runtime)
    assert world.list_path.read_bytes() == before
    assert approve(world.config, "akamai", candidate.edition.sha256, world.runtime).exit_code == ExitCode.OK
    assert world.memory("akamai").current == candidate.edition
    assert world.sync().exit_code == ExitCode.OK


def test_case_13_cloudfronts_real_growth_with_fewer_lines_is_accepted(world: World) -> None:
    use_cloudfront(world, read_sample("cloudfront-2025-07-cut.json"))
    world.sync()
    world.server.serve_sample("/aws", "cloudfront-cut.json")
    report = world.sync()
    assert (report.exit_code, outcome_of(report, "cloudfront")) == (ExitCode.OK, SourceOutcome.CHANGED)
    assert report.sources[0].removed.all_cidrs == ()
    assert len(world.listed().cidrs("v6")) == 3


def test_case_14_as_many_prefixes_but_all_others_are_held(world: World) -> None:
    world.sync()
    others = [f"{10 + n}.0.0.0/{cidr.split('/')[1]}" for n, cidr in enumerate(V4, start=1)]
    world.server.serve(API, api_body(others, V6))
    report = world.sync()
    assert report.exit_code == ExitCode.HELD
    assert "retains 0.000" in message_of(report, "cloudflare")
    assert world.listed() == CLOUDFLARE


@pytest.mark.parametrize(
    "token",
    [
        *("0.0.0.0/0", "0.0.0.0/1", "10.0.0.0/8", "2000::/3", "10.0.0.0/0.255.255.255", "1.2.3.4/24"),
        *("evil.example", "1.1.1.0/24; allow all", "::ffff:10.0.0.0/104", "010.0.0.0/8", "1.1.1.0/24;include /etc/x;"),
        *("104.0.0.0/8", "fc00::/7", "169.254.0.0/16", "١.1.1.0/24", ""),
    ],
)
def test_case_15_one_bad_token_refuses_the_edition_and_is_named(token: str, world: World) -> None:
    calls = world.directory / "calls"
    world.targets[0]["reload"] = ["sh", "-c", f"echo x >> {calls}"]
    world.sync()
    before = world.list_path.read_bytes()
    world.server.serve(API, api_body([*V4, token], V6))
    report = world.sync()
    assert report.exit_code == ExitCode.SOURCE_FAILED
    assert ascii(token) in message_of(report, "cloudflare")
    assert world.list_path.read_bytes() == before
    assert calls.read_text() == "x\n"


@pytest.mark.parametrize("value", [None, 7, True, {}, [], ["1.2.3.0/24"]])
def test_case_15_what_is_no_text_refuses_the_edition_too(value: object, world: World) -> None:
    world.sync()
    world.server.serve(API, api_body([*V4, value], V6))  # type: ignore[list-item]
    assert "is not a text" in message_of(world.sync(), "cloudflare")


def test_case_16_a_prefix_that_flaps_is_added_once_and_never_removed(world: World) -> None:
    calm = json.loads(read_sample("cloudfront-cut.json"))
    flap = {"ip_prefix": "3.172.0.0/18", "service": "CLOUDFRONT_ORIGIN_FACING"}
    use_cloudfront(world, json.dumps(calm).encode())
    world.targets[0]["reload"] = ["sh", "-c", f"echo x >> {world.directory / 'reloads'}"]
    changes = []
    for number in range(11):
        edition = {**calm, "syncToken": str(1787184000 + number), "createDate": str(number)}
        edition["prefixes"] = calm["prefixes"] + ([flap] if number % 2 else [])
        world.server.serve("/aws", json.dumps(edition))
        report = world.sync()
        assert report.exit_code == ExitCode.OK
        changes += [r for r in report.targets if r.outcome is not TargetOutcome.IN_SYNC]
        world.age(6 * HOUR)
    assert [len(change.added.all_cidrs) for change in changes] == [7, 1]
    assert [change.removed.all_cidrs for change in changes] == [(), ()]
    assert (world.directory / "reloads").read_text() == "x\nx\n"
    stamp = world.store.load_stamps()["cloudfront"].last_success_at
    world.server.serve("/aws", json.dumps({**calm, "syncToken": "1787183999"}))
    report = world.sync()
    assert (report.exit_code, outcome_of(report, "cloudfront")) == (ExitCode.OK, SourceOutcome.OLDER)
    assert world.store.load_stamps()["cloudfront"].last_success_at == stamp


def test_an_edition_that_waits_is_accepted_by_itself_after_a_while_if_that_is_configured(world: World) -> None:
    world.use_cloudflare(auto_approve={"sightings": 2, "hours": 12})
    world.sync()
    world.server.serve(API, api_body([*V4, "96.0.0.0/12"], V6))
    assert world.sync().exit_code == ExitCode.HELD
    world.age(12 * HOUR)
    report = world.sync()
    assert report.exit_code == ExitCode.OK
    assert "accepted after 2 sightings" in message_of(report, "cloudflare")
    assert world.listed().contains("v4", 96 << 24)


def test_an_operators_own_list_is_in_force_at_once(world: World) -> None:
    world.sources = [{"name": "own", "type": "static", "cidrs": ["10.1.0.0/16", "10.2.0.0/16"]}]
    world.use_text_target()
    world.sync()
    world.sources[0]["cidrs"] = ["10.9.0.0/16"]
    assert world.sync().exit_code == ExitCode.OK
    assert world.listed().all_cidrs == ("10.9.0.0/16",)


def test_other_words_in_the_configuration_void_what_the_server_was_told_to_remember(world: World) -> None:
    world.server.serve_sample(API, "cloudflare-api.json", headers={"ETag": '"1"'})
    world.sync()
    world.sync()
    assert world.server.asked[1].headers["if-none-match"] == '"1"'
    world.sources[0]["families"] = ["v4"]
    world.sync()
    assert "if-none-match" not in world.server.asked[2].headers
    world.age(25 * HOUR)
    world.sync()
    assert "if-none-match" not in world.server.asked[3].headers
