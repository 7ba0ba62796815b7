"""Addresses: what is equal, what is not, and what is no address at all."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from authd.config import parse_email
from authd.config.emails import parse_email_domain


@pytest.mark.parametrize(
    ("text", "email"),
    [
        ("alice@example.com", "alice@example.com"),
        ("Alice@Example.COM", "alice@example.com"),
        ("a.b+tag@example.com", "a.b+tag@example.com"),
        ("o'brien@example.com", "o'brien@example.com"),
        ("alice@localhost", "alice@localhost"),
        ("alice@bücher.example", "alice@xn--bcher-kva.example"),
        ("alice@BÜCHER.example", "alice@xn--bcher-kva.example"),
        ("alice@XN--BCHER-KVA.example", "alice@xn--bcher-kva.example"),
        ("alice@straße.example", "alice@xn--strae-oqa.example"),
        ("zażółć@example.com", "zażółć@example.com"),
        ("ÉMILE@example.com", "Émile@example.com"),
    ],
)
def test_addresses_have_one_spelling(text: str, email: str) -> None:
    assert parse_email(text) == email


@pytest.mark.parametrize(
    "text",
    [
        "a@evil.com@corp.test",
        '"a@corp.test"@evil.com',
        '"a"@corp.test',
        " a@corp.test",
        "a@corp.test ",
        "a@corp.test\n",
        "a\n@corp.test",
        "a@corp.test,b@evil.com",
        "a@corp.test;b@evil.com",
        "<a@corp.test>",
        "Alice <a@corp.test>",
        "a(comment)@corp.test",
        "a@corp.test.",
        "a@.corp.test",
        "a@corp..test",
        "a@-corp.test",
        "a@corp.test:25",
        "a@corp_.test-",
        "a@[127.0.0.1]",
        "a@corp.test\0",
        "a\0@corp.test",
        "a@",
        "@corp.test",
        "@",
        "a",
        "",
        "a b@corp.test",
        "a\u00a0b@corp.test",
        "a\u200b@corp.test",
        "a\u202e@corp.test",
        "\ud800@corp.test",
        "a@\ud800.test",
        "a" * 65 + "@corp.test",
        "a@" + "b" * 10_000,
        "a@" + "b." * 130 + "test",
        "a@xn--ls8h.test",
        "a%40corp.test",
    ],
)
def test_what_is_no_address_is_none(text: str) -> None:
    assert parse_email(text) is None


@pytest.mark.parametrize("value", [None, 5, True, [], ["a@corp.test"], {"email": "a@corp.test"}, b"a@corp.test"])
def test_only_text_is_an_address(value: object) -> None:
    assert parse_email(value) is None


@pytest.mark.parametrize(
    "lookalike",
    [
        "mar\u212a@corp.test",  # Kelvin sign, which lower() and NFC both make a k
        "adm\u0131n@corp.test",  # dotless i
        "jame\u017f@corp.test",  # long s
        "\uff41lice@corp.test",  # full-width a
        "ali\u0441e@corp.test",  # Cyrillic es
        "ﬁona@corp.test",  # ligature fi
        "ⓐlice@corp.test",
    ],
)
def test_letters_that_fold_to_ascii_never_equal_ascii(lookalike: str) -> None:
    folded = {"mark@corp.test", "admin@corp.test", "james@corp.test", "alice@corp.test", "fiona@corp.test"}
    assert parse_email(lookalike) not in folded


@pytest.mark.parametrize(
    "domain",
    ["\u212aorp.test", "corp.te\u017ft", "\uff43orp.test", "corp。test", "corp．test", "ﬁrm.test", "cor℡.test"],
)
def test_a_domain_that_idna_would_map_to_ascii_is_refused(domain: str) -> None:
    assert parse_email(f"a@{domain}") is None


def test_a_decomposed_local_part_is_refused_rather_than_taken_for_another_person() -> None:
    assert parse_email("jose\u0301@corp.test") is None
    assert parse_email("josé@corp.test") == "josé@corp.test"


@pytest.mark.parametrize(
    ("text", "domain"), [("b.c", "b.c"), ("@b.c", "b.c"), ("@B.C", "b.c"), ("@Bücher.de", "xn--bcher-kva.de")]
)
def test_a_domain_may_be_typed_with_its_at_sign(text: str, domain: str) -> None:
    assert parse_email_domain(text) == domain


@pytest.mark.parametrize("text", ["", "@", "@@b.c", "a@b.c", "*.b.c", "b.c/", "b c", ".b.c"])
def test_what_is_no_domain_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_email_domain(text)


@given(st.text(max_size=40))
def test_whatever_comes_the_answer_is_an_address_in_its_one_spelling(text: str) -> None:
    email = parse_email(text)
    if email is not None:
        assert parse_email(email) == email
        assert email.count("@") == 1
        assert email == "".join(c.lower() if c.isascii() else c for c in email)


@given(st.text(min_size=1, max_size=12), st.sampled_from(["corp.test", "Corp.Test"]))
def test_an_ascii_result_comes_from_an_ascii_text(local: str, domain: str) -> None:
    """No foreign letter ever becomes an ASCII one: that is how one person would become another."""
    email = parse_email(f"{local}@{domain}")
    if email is not None and email.isascii():
        assert local.isascii()


def test_no_character_beside_ascii_vanishes_from_a_domain() -> None:
    """A soft hyphen or a zero-width space, say, which UTS #46 drops: another domain would become this one."""
    # All of Unicode but ideographs, Hangul and what belongs to nobody, for the time it takes.
    ranges = (range(128, 0x3400), range(0xA000, 0xAC00), range(0xF900, 0x2_0000), range(0xE_0000, 0xE_1000))
    others = (chr(point) for points in ranges for point in points)
    assert [hex(ord(each)) for each in others if "xn--" not in (parse_email(f"a@x{each}y.test") or "xn--")] == []


@given(st.text(min_size=1, max_size=8).filter(lambda text: not text.isascii()))
@example("corp\xad")
@example("bücher\u200b")
def test_a_foreign_domain_stays_foreign(label: str) -> None:
    email = parse_email(f"a@{label}.test")
    if email is not None:
        assert "xn--" in email
