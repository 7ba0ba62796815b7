"""Every parser, fed with what was really published wrong, cut, joined and bent: the exact set, or a refusal."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipranges.config import NftablesTarget
from ipranges.config.document import parse_document
from ipranges.errors import IprangesError, RefusedError, StateDamagedError
from ipranges.model import UnverifiedEdition
from ipranges.networks import NetworkSet, parse_network_set
from ipranges.sources import CATALOG
from ipranges.sources.formats import read_json, read_text
from ipranges.state import codec
from ipranges.targets.haproxy import parse_acl
from ipranges.targets.ipset import parse_ipset
from ipranges.targets.line_formats import PLAIN, build_nginx_geo
from ipranges.targets.nftables import parse_table, render_table
from ipranges.validate import verify_edition
from tests.ipranges.edge_server import SAMPLES, read_sample

BODIES = [path.read_bytes() for path in sorted(SAMPLES.iterdir()) if path.name != "README.md"]
READERS: dict[str, Callable[[bytes], UnverifiedEdition]] = {
    name: lambda body, attempt=provider.attempts[0]: attempt.parse([body] * len(attempt.urls))  # type: ignore[misc]
    for name, provider in CATALOG.items()
    if provider.attempts
} | {
    "text": lambda body: read_text([body]),
    "fleet": lambda body: read_json("edges[].cidr", serial="serial")([body]),
}
OWN = {
    "cloudflare": "cloudflare-api.json",
    "fastly": "fastly.json",
    "cloudfront": "cloudfront-cut.json",
    "imperva": "imperva.json",
    "github-hooks": "github-meta-cut.json",
    "text": "cloudflare-ips-v4.txt",
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("body", BODIES, ids=[p.name for p in sorted(SAMPLES.iterdir()) if p.name != "README.md"])
def test_a_body_of_another_kind_is_refused_or_is_really_a_list(name: str, body: bytes) -> None:
    try:
        said = READERS[name](body)
        networks = parse_network_set(said.tokens)
    except RefusedError:
        return
    text = body.decode("utf-8-sig")
    assert networks
    assert all(token in text for token in said.tokens)
    assert not text.lstrip().startswith("<")


@pytest.mark.parametrize("name", OWN)
def test_a_list_that_was_bent_is_itself_or_refused(name: str) -> None:
    """Bent in a character or two: what is accepted differs from the list by what the bend says, or is refused."""
    original = read_sample(OWN[name])
    limits = CATALOG[name].limits if name in CATALOG else CATALOG["cloudflare"].limits

    @settings(max_examples=120)
    @given(st.randoms(use_true_random=False))
    def bend(chance: random.Random) -> None:
        body = _bend(original, chance)
        try:
            said = READERS[name](body)
            edition = verify_edition(said.tokens, limits, url="", fetched_at=0)
        except RefusedError:
            return
        assert edition.networks == parse_network_set(said.tokens)
        assert all(token.encode() in body for token in said.tokens)

    bend()


@given(st.binary(max_size=200))
def test_random_bytes_crash_no_parser(body: bytes) -> None:
    for reader in READERS.values():
        with pytest.raises(RefusedError):
            parse_network_set((*reader(body).tokens, "?"))
    text = body.decode("latin-1")
    for parse in (
        PLAIN.parse,
        build_nginx_geo("edge_ok", "enforce").parse,
        lambda text: parse_ipset("e", text),
        parse_acl,
    ):
        try:
            assert isinstance(parse(text), NetworkSet)
        except RefusedError:
            continue


@given(st.text(alphabet="{}[]:,&*!|>-#'\" \nabc019", max_size=80))
def test_random_yaml_never_raises(text: str) -> None:
    document = parse_document(text)
    assert document.mistakes or document.value is not None or text.strip()


@given(st.randoms(use_true_random=False))
def test_a_state_file_with_any_byte_changed_is_damaged(chance: random.Random) -> None:
    body = codec.render_document("source", {"a": ["1.2.3.0/24", "1.2.4.0/24"], "n": 17})
    bent = _bend(body, chance)
    try:
        content = codec.parse_document("source", bent, where="x")
    except StateDamagedError:
        return
    assert content == {"a": ["1.2.3.0/24", "1.2.4.0/24"], "n": 17}


@given(st.randoms(use_true_random=False))
def test_a_ruleset_with_other_elements_reads_as_those_or_is_refused(chance: random.Random) -> None:
    target = NftablesTarget(type="nftables", ports=(443,), sources=("a",))
    table = render_table(target, parse_network_set(["1.2.3.0/24", "9.0.0.0/8", "2400::/32"]))
    try:
        networks, _ = parse_table(_bend(table.encode(), chance).decode("utf-8", "replace"))
    except IprangesError:
        return
    assert networks.address_count("v4") < 2**32


def _bend(body: bytes, chance: random.Random) -> bytes:
    data = bytearray(body)
    for _ in range(chance.randint(1, 3)):
        place = chance.randrange(len(data)) if data else 0
        kind = chance.randrange(5)
        if kind == 0:
            del data[place : place + chance.randint(1, 12)]
        elif kind == 1:
            data[place:place] = chance.choice([b"0", b"/", b".", b",", b'"', b"\n", b";", b"\xff", b"<"])
        elif kind == 2 and data:
            data[place] = chance.randrange(256)
        elif kind == 3:
            del data[place:]
        else:
            data += data[place:]
    return bytes(data)
