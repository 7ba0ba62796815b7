"""Countries from a file in MaxMind's format: what it says, what it does not know, and files that are of no use."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest

from authd.countries import Countries, parse_country
from tests.harness.countries import write_countries


@pytest.mark.parametrize(
    ("address", "country"),
    [
        ("192.0.2.7", "DE"),
        ("2001:db8::1", "PL"),
        ("203.0.113.1", "CH"),  # as IPinfo writes it
        ("203.0.113.200", ""),  # where a network is registered is not where its people are
        ("10.0.0.1", ""),
        ("::1", ""),
    ],
)
def test_an_address_is_where_the_database_says(tmp_path: Path, address: str, country: str) -> None:
    countries = Countries(write_countries(tmp_path / "c.mmdb"))

    assert countries.find(ip_address(address)) == country
    assert countries.find(ip_address(address)) == country


@pytest.mark.parametrize(
    ("text", "country"),
    [("de", "DE"), ("DE", "DE"), ("T1", "T1"), ("t1", "T1"), ("XX", ""), ("", ""), ("DEU", ""), ("D1", ""), ("ÄÖ", "")],
)
def test_what_names_no_country_is_none(text: str, country: str) -> None:
    assert parse_country(text) == country


@pytest.mark.parametrize("content", [b"", b"<html>", b"\xab\xcd\xefMaxMind.com" + b"\0" * 64, None, "cut"])
def test_a_file_of_no_use_is_refused_in_words(tmp_path: Path, content: bytes | str | None) -> None:
    path = tmp_path / "c.mmdb"
    if content == "cut":
        whole = write_countries(path).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif isinstance(content, bytes):
        path.write_bytes(content)

    with pytest.raises(ValueError, match=r"MaxMind's format|cannot be read"):
        Countries(path)


def test_a_file_that_is_cut_under_us_answers_as_before(tmp_path: Path) -> None:
    """A mapping of the file itself would end the process with SIGBUS here."""
    countries = Countries(write_countries(tmp_path / "c.mmdb"))

    (tmp_path / "c.mmdb").write_bytes(b"")

    assert countries.find(ip_address("198.51.100.1")) == "FR"


def test_another_edition_is_noticed_and_a_missing_one_is_not_one(tmp_path: Path) -> None:
    path = write_countries(tmp_path / "c.mmdb")
    countries = Countries(path)
    assert countries.is_of(path)

    write_countries(path, {"192.0.2.0/24": {"country": {"iso_code": "AT"}}})
    assert not countries.is_of(path)

    path.unlink()
    assert countries.is_of(path)
    assert not countries.is_of(None)
