"""The signing keys: which one signs when, how long each verifies, and what is published of them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from authd.errors import StoreDamagedError
from authd.keys import (
    PUBLISHED_BEFORE_SIGNING_SECONDS,
    ROTATION_SECONDS,
    Keyring,
    SigningKey,
    generate_signing_key,
    parse_keyring,
    render_keyring,
)
from tests.authd.house import NOW, TEAM, get_keyring

START = NOW - 86400


def test_the_first_key_signs_until_the_second_ones_time() -> None:
    keyring = get_keyring()
    first, second = keyring.keys

    for now, key in [
        (0, first),
        (START, first),
        (START + ROTATION_SECONDS - 1, first),
        (START + ROTATION_SECONDS, second),
    ]:
        assert keyring.signing_key(now) is key


def test_a_key_is_published_long_before_it_signs_and_verifies_a_week_after() -> None:
    """cloudflared keeps a key set for 24 h. Where tokens live longer than a week, so does the key: see rotation."""
    keyring = get_keyring()
    first, second = keyring.keys

    assert second.signs_from - second.created_at >= PUBLISHED_BEFORE_SIGNING_SECONDS
    last_token_ends = second.signs_from + 7 * 86400
    assert keyring.find_key(first.key_id, last_token_ends - 1) is first
    assert keyring.find_key(first.key_id, first.verifies_until) is None


def test_a_key_id_is_the_hash_of_its_public_key_and_finds_it() -> None:
    keyring = get_keyring()

    for key in keyring.keys:
        assert keyring.find_key(key.key_id, NOW) is key
        assert len(key.key_id) == 64
    for unknown in ("", "x", keyring.keys[0].key_id.upper(), keyring.keys[0].key_id[:-1]):
        assert keyring.find_key(unknown, NOW) is None


def test_the_document_names_the_key_that_signs_and_holds_nothing_private() -> None:
    keyring = get_keyring()
    for now in (NOW, START + ROTATION_SECONDS):
        document = keyring.render_document(now)

        assert document["public_cert"]["kid"] == keyring.signing_key(now).key_id
        assert [key["kid"] for key in document["keys"]] == [key.key_id for key in keyring.keys]
        assert {frozenset(key) for key in document["keys"]} == {frozenset({"kid", "kty", "alg", "use", "e", "n"})}
        assert "PRIVATE" not in json.dumps(document)


def test_an_expired_key_is_published_no_more() -> None:
    keyring = get_keyring()

    document = keyring.render_document(keyring.keys[0].verifies_until)

    assert [key["kid"] for key in document["keys"]] == [keyring.keys[1].key_id]


def test_a_certificate_is_valid_as_long_as_its_key_and_for_a_clock_that_is_slow() -> None:
    for key in get_keyring().keys:
        certificate = x509.load_pem_x509_certificate(key.certificate_pem.encode())

        assert certificate.not_valid_before_utc.timestamp() == key.created_at - 300
        assert certificate.not_valid_after_utc.timestamp() >= key.verifies_until
        assert TEAM in certificate.subject.rfc4514_string()


def test_a_long_team_domain_still_gets_a_certificate() -> None:
    """X.509 bounds a common name at 64 characters."""
    private_key = get_keyring().keys[0].private_key

    key = generate_signing_key(
        team_domain="a" * 60 + ".example.com", now=NOW, signs_from=NOW, generate=lambda: private_key
    )

    assert x509.load_pem_x509_certificate(key.certificate_pem.encode())


def test_a_keyring_comes_back_from_its_document() -> None:
    keyring = get_keyring()

    found = parse_keyring(render_keyring(keyring))

    def describe(key: SigningKey) -> object:
        return replace(key, private_key=None), key.private_key.private_numbers()  # type: ignore[arg-type]

    assert [describe(key) for key in found.keys] == [describe(key) for key in keyring.keys]


def test_a_keyring_of_the_first_version_verifies_as_long_as_any_session_could_last() -> None:
    entries = json.loads(render_keyring(get_keyring()))
    for entry in entries:
        del entry["longest_token_seconds"]

    found = parse_keyring(json.dumps(entries).encode())

    assert {key.longest_token_seconds for key in found.keys} == {31 * 86400}


def render_with_an_elliptic_key() -> bytes:
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    entries = json.loads(render_keyring(get_keyring()))
    entries[0]["private_key"] = pem.decode()
    return json.dumps(entries).encode()


@pytest.mark.parametrize(
    "document", [b"", b"[]", b"{}", b"nonsense", b"[1]", b'[{"key_id": "x"}]', render_with_an_elliptic_key()]
)
def test_a_document_that_is_no_keyring_is_damage_and_never_a_new_keyring(document: bytes) -> None:
    with pytest.raises(StoreDamagedError):
        parse_keyring(document)


def test_before_its_time_the_first_key_signs_all_the_same() -> None:
    only = Keyring((replace(get_keyring().keys[0], signs_from=NOW + 1),))

    assert only.signing_key(NOW) is only.keys[0]
