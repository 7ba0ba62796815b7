"""How keys follow one another: published before they sign, gone when nothing lives any more that they signed."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import pairwise

import jwt
from cryptography import x509

from authd.keys import FOLLOWING_SECONDS, PUBLISHED_BEFORE_SIGNING_SECONDS, ROTATION_SECONDS, Keyring, SigningKey
from authd.rotation import promote_key, renew_keyring, retire_key, without_key
from tests.authd.house import NOW, TEAM, get_keyring

DAY = 86400
START = NOW - DAY
renew = partial(renew_keyring, team_domain=TEAM, longest_token_seconds=DAY)
promote = partial(promote_key, team_domain=TEAM, longest_token_seconds=DAY)
retire = partial(retire_key, team_domain=TEAM, longest_token_seconds=DAY)


def ids(keyring: Keyring) -> list[str]:
    return [key.key_id for key in keyring.keys]


def following(keyring: Keyring, now: int) -> SigningKey:
    found = keyring.find_next_key(now)
    assert found is not None
    return found


def certified_until(key: SigningKey) -> float:
    return x509.load_pem_x509_certificate(key.certificate_pem.encode()).not_valid_after_utc.timestamp()


def test_nothing_changes_while_nothing_is_due() -> None:
    keyring = get_keyring()

    assert renew(keyring, now=NOW) == keyring
    assert renew(keyring, now=START + ROTATION_SECONDS - 1) == keyring


def test_in_a_year_and_a_half_every_key_is_published_in_time_and_verifies_what_it_signed() -> None:
    """One upkeep every six hours; every token that is still alive finds its key, and no id comes twice."""
    keyring, signed, everything = get_keyring(), [], set(ids(get_keyring()))
    published_at = dict.fromkeys(everything, START)
    for now in range(START, START + 540 * DAY, DAY // 4):
        keyring = renew(keyring, now=now)
        for key_id in ids(keyring):
            published_at.setdefault(key_id, now)
        signing = keyring.signing_key(now)
        signed.append((now, signing.key_id))
        assert (
            now == START or now - published_at[signing.key_id] >= PUBLISHED_BEFORE_SIGNING_SECONDS or now < START + DAY
        )
        assert all(keyring.find_key(key_id, now) for at, key_id in signed[-28:] if now - at < 7 * DAY)
        assert len(keyring.keys) <= 3
        assert all(key.verifies_until <= certified_until(key) for key in keyring.keys)

    changes = [now for (_, before), (now, after) in pairwise(signed) if before != after]
    assert changes == [START + n * ROTATION_SECONDS for n in range(1, 13)]
    assert len(published_at) == 14


def test_a_key_leaves_when_what_it_signed_has_ended() -> None:
    first = get_keyring().keys[0]
    ended = START + ROTATION_SECONDS
    keyring = renew(get_keyring(), now=ended)

    assert keyring.keys[0].verifies_until == ended + 7 * DAY + FOLLOWING_SECONDS
    assert first.key_id in ids(renew(keyring, now=keyring.keys[0].verifies_until - 1))
    assert first.key_id not in ids(renew(keyring, now=keyring.keys[0].verifies_until))


def test_where_tokens_live_for_a_month_their_key_does_too_even_if_they_no_longer_may() -> None:
    longer = renew(get_keyring(), now=NOW, longest_token_seconds=31 * DAY)
    shorter = renew(longer, now=NOW + DAY)

    for keyring in (longer, shorter, renew(shorter, now=START + ROTATION_SECONDS)):
        first = keyring.keys[0]
        assert first.verifies_until == START + ROTATION_SECONDS + 31 * DAY + FOLLOWING_SECONDS
        assert first.verifies_until <= certified_until(first)
    assert shorter.keys[1].verifies_until == get_keyring().keys[1].verifies_until, "it has signed nothing yet"


def test_after_a_rotation_the_next_key_signs_and_the_old_one_verifies_for_a_week() -> None:
    old, new = get_keyring().keys

    keyring = promote(get_keyring(), new.key_id, now=NOW)

    assert ids(keyring)[:2] == [old.key_id, new.key_id]
    assert keyring.signing_key(NOW).key_id == new.key_id
    assert keyring.keys[0].verifies_until == NOW + 7 * DAY + FOLLOWING_SECONDS
    assert following(keyring, NOW).signs_from == NOW + ROTATION_SECONDS
    assert keyring.keys[1].verifies_until == NOW + ROTATION_SECONDS + 7 * DAY + FOLLOWING_SECONDS


def test_a_rotation_that_is_repeated_happens_once() -> None:
    new = get_keyring().keys[1]
    once = promote(get_keyring(), new.key_id, now=NOW)

    assert promote(once, new.key_id, now=NOW) == once
    assert promote(once, "f" * 64, now=NOW + 5) == once


def test_three_rotations_in_one_second_leave_every_key_verifying() -> None:
    keyring, signing = get_keyring(), [get_keyring().signing_key(NOW).key_id]
    for _ in range(3):
        keyring = promote(keyring, following(keyring, NOW).key_id, now=NOW)
        signing.append(keyring.signing_key(NOW).key_id)

    assert len(set(signing)) == 4
    assert ids(keyring)[:4] == signing
    assert all(keyring.find_key(key_id, NOW + 7 * DAY) for key_id in signing)
    assert [entry["kid"] for entry in keyring.render_document(NOW)["keys"]] == ids(keyring)
    assert keyring.render_document(NOW)["public_cert"]["kid"] == signing[-1]


def test_without_a_worker_for_a_year_the_late_key_is_still_published_a_day_ahead() -> None:
    now = START + 365 * DAY
    keyring = renew(get_keyring(), now=now)

    signing = keyring.signing_key(now)
    assert ids(keyring)[0] == signing.key_id == get_keyring().keys[1].key_id
    assert following(keyring, now).signs_from == now + PUBLISHED_BEFORE_SIGNING_SECONDS
    assert keyring.find_key(signing.key_id, now + 8 * DAY) == signing
    assert certified_until(signing) >= signing.verifies_until
    certificate = x509.load_pem_x509_certificate(signing.certificate_pem.encode())
    certificate.verify_directly_issued_by(certificate)
    assert certificate.public_key() == signing.public_key


def test_the_key_that_signs_is_retired_in_favour_of_the_next_one() -> None:
    old, new = get_keyring().keys

    keyring = retire(get_keyring(), old.key_id, now=NOW)

    assert ids(keyring)[0] == keyring.signing_key(NOW).key_id == new.key_id
    assert keyring.find_key(old.key_id, NOW) is None
    assert following(keyring, NOW).signs_from == NOW + ROTATION_SECONDS


def test_a_key_that_only_verifies_never_signs_again_when_the_signing_one_is_retired() -> None:
    rotated = promote(get_keyring(), get_keyring().keys[1].key_id, now=NOW)
    old, signing, coming = rotated.keys

    assert retire(rotated, signing.key_id, now=NOW).signing_key(NOW).key_id == coming.key_id
    without_next = Keyring((old, signing))
    assert without_key(without_next, signing.key_id, now=NOW) is None
    assert retire(without_next, signing.key_id, now=NOW).signing_key(NOW).created_at == NOW


def test_the_only_key_is_retired_by_making_a_new_one() -> None:
    only = Keyring(get_keyring().keys[:1])

    keyring = retire(only, only.keys[0].key_id, now=NOW)

    assert len(keyring.keys) == 2
    assert only.keys[0].key_id not in ids(keyring)
    assert keyring.signing_key(NOW).signs_from == NOW


def test_the_next_key_is_retired_and_another_takes_its_place() -> None:
    signing, coming = get_keyring().keys

    keyring = retire(get_keyring(), coming.key_id, now=NOW)

    assert keyring.signing_key(NOW).key_id == signing.key_id
    assert following(keyring, NOW).key_id != coming.key_id
    assert following(keyring, NOW).signs_from == START + ROTATION_SECONDS


def test_retiring_an_old_key_leaves_the_others_as_they_are() -> None:
    rotated = promote(get_keyring(), get_keyring().keys[1].key_id, now=NOW)

    assert retire(rotated, rotated.keys[0].key_id, now=NOW) == Keyring(rotated.keys[1:])


def test_the_certificates_are_those_of_the_keys_that_sign() -> None:
    keyring = promote(get_keyring(), get_keyring().keys[1].key_id, now=NOW)
    for key in keyring.keys:
        certificate = x509.load_pem_x509_certificate(key.certificate_pem.encode())
        token = jwt.encode({}, replace(key).private_key, algorithm="RS256")

        assert jwt.decode(token, certificate.public_key(), algorithms=["RS256"]) == {}  # type: ignore[arg-type]
