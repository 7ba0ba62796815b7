"""Every provider's own document, as published, read by the provider that ships."""

from __future__ import annotations

import re

import pytest

from ipranges.config import SourceConfig
from ipranges.errors import RefusedError
from ipranges.fetch import Fetcher, HttpLimits, fetch_source
from ipranges.model import SourceMemory
from ipranges.networks import parse_network_set
from ipranges.sources import CATALOG, build_provider
from ipranges.sources.documents import parse_json, parse_lines
from ipranges.validate import verify_edition
from tests.ipranges.edge_server import EdgeServer, read_sample

SAMPLES = {
    "cloudflare": (["cloudflare-api.json"], 15, 7),
    "fastly": (["fastly.json"], 19, 2),
    "cloudfront": (["cloudfront-cut.json"], 4, 3),
    "azure-front-door": (["azure-front-door-cut.json"], 5, 3),
    "akamai": (["akamai-v4.txt", "akamai-v6.txt"], 6, 3),
    "bunny": (["bunny-v4-cut.json", "bunny-v6-cut.json"], 6, 3),
    "imperva": (["imperva.json"], 11, 1),
    "github-hooks": (["github-meta-cut.json"], 4, 2),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_a_published_list_is_read_whole(name: str, server: EdgeServer) -> None:
    files, v4, v6 = SAMPLES[name]
    for index, file in enumerate(files):
        server.serve_sample(f"/{index}", file, content_type="text/plain")
    urls = tuple(server.url(f"/{index}") for index in range(len(files)))
    provider = build_provider(SourceConfig(name=name, type=name, url=urls))  # type: ignore[arg-type]
    edition = fetch_source(provider, Fetcher(HttpLimits(retries=0)), SourceMemory(name), now=1).edition
    tokens = parse_network_set(edition.networks.all_cidrs)
    assert (len(tokens.cidrs("v4")), len(tokens.cidrs("v6"))) == (v4, v6)
    assert tokens.address_count("v4") > 0
    assert tokens.address_count("v6") > 0


def test_only_the_named_service_of_amazon_counts() -> None:
    said = CATALOG["cloudfront"].attempts[0].parse([read_sample("cloudfront-cut.json")])
    assert "13.32.0.0/15" not in said.tokens
    assert "2600:9000:3000::/36" not in said.tokens
    assert said.serial == 1787184000
    assert said.version == "2026-08-20-00-00-00"


def test_only_the_backend_tag_of_azure_counts() -> None:
    said = CATALOG["azure-front-door"].attempts[0].parse([read_sample("azure-front-door-cut.json")])
    assert "4.232.98.112/29" not in said.tokens
    assert said.serial == 19


def test_azures_page_names_the_list_and_no_other_site_can_be_named() -> None:
    link = CATALOG["azure-front-door"].attempts[0].discovery.link  # type: ignore[union-attr]
    page = read_sample("azure-details-page-cut.html").decode()
    assert link.findall(page)[0].endswith("/ServiceTags_Public_20261116.json")
    assert not link.findall(page.replace("download.microsoft.com", "download.microsoft.com.evil.example"))


def test_googles_mixed_array_is_read_with_an_optional_key() -> None:
    source = SourceConfig(
        name="google-cloud",
        type="url",
        url="https://ranges.example/cloud.json",  # type: ignore[arg-type]
        json=["prefixes[].ipv4Prefix?", "prefixes[].ipv6Prefix?"],
        serial="syncToken",
    )
    said = build_provider(source).attempts[0].parse([read_sample("google-cut.json")])
    assert len(said.tokens) == 4
    assert said.serial == 1753409788780


@pytest.mark.parametrize("name", CATALOG)
def test_each_provider_states_its_endpoint_its_date_and_its_size(name: str) -> None:
    provider = CATALOG[name]
    assert provider.official.startswith("https://")
    assert provider.endpoint.startswith("https://")
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", provider.verified_on)
    assert re.search(r"\d+ IPv4|\d+ prefixes", provider.expected)
    assert provider.note
    assert all(url.startswith("https://") for attempt in provider.attempts for url in attempt.urls)
    assert provider.attempts or provider.fixed


@pytest.mark.parametrize("name", [name for name, provider in CATALOG.items() if provider.bundled or provider.fixed])
def test_lists_in_the_package_pass_their_own_provider_s_limits(name: str) -> None:
    provider = CATALOG[name]
    tokens = provider.bundled or provider.fixed
    assert verify_edition(tokens, provider.limits, url="", fetched_at=0).networks == parse_network_set(tokens)


@pytest.mark.parametrize("body", [b"", b"\n\t\r\n", b"# nothing\n", b"\xff\xfe1.2.3.4", "１.2.3.4".encode("utf-16")])
def test_text_that_holds_no_token_is_refused(body: bytes) -> None:
    with pytest.raises(RefusedError):
        parse_lines(body)


def test_text_is_read_by_whole_lines() -> None:
    body = "\ufeff# edges\n1.2.3.0/24\t\r\n  1.2.4.0/24 # ams\n\n".encode()
    assert parse_lines(body) == ("1.2.3.0/24", "1.2.4.0/24")


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"<html>", b'{"a":1,"a":2}', b'{"a":NaN}', b"[" * 100_000, b'{"a":1}x', b"\x00", b'{"a":"\xff"}'],
)
def test_json_that_two_readers_could_read_differently_is_refused(body: bytes) -> None:
    with pytest.raises(RefusedError):
        parse_json(body)
