"""Sealed values: only ours open, only in their place, and a secret can be replaced without anybody noticing."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authd.errors import SealError, SecretError
from authd.sealing import Sealer, load_sealer

OLD, NEW, FOREIGN = (bytes([number]) * 32 for number in (1, 2, 3))
SEALER = Sealer([OLD])


@given(plaintext=st.binary(max_size=300))
def test_what_was_sealed_opens_in_its_place(plaintext: bytes) -> None:
    assert SEALER.open("kind", "id", SEALER.seal("kind", "id", plaintext)) == plaintext
    assert SEALER.open_text("kind", "id", SEALER.seal_text("kind", "id", plaintext)) == plaintext


def test_sealing_twice_gives_two_values_that_show_nothing() -> None:
    one, other = (SEALER.seal("kind", "id", b"the very same plaintext") for _ in range(2))

    assert one != other
    assert b"plaintext" not in one


@pytest.mark.parametrize(
    ("kind", "id_"), [("kind", "other"), ("other", "id"), ("id", "kind"), ("kin", "did"), ("", "")]
)
def test_a_value_means_nothing_in_another_place(kind: str, id_: str) -> None:
    with pytest.raises(SealError):
        SEALER.open(kind, id_, SEALER.seal("kind", "id", b"x"))


def test_a_change_of_any_byte_is_found() -> None:
    sealed = SEALER.seal("kind", "id", b"admin=0")

    for position in range(len(sealed)):
        for change in (0x01, 0x80, 0xFF):
            tampered = sealed[:position] + bytes([sealed[position] ^ change]) + sealed[position + 1 :]
            with pytest.raises(SealError):
                SEALER.open("kind", "id", tampered)


def test_a_value_that_was_cut_or_lengthened_is_found() -> None:
    sealed = SEALER.seal("kind", "id", b"admin=0")

    for length in range(len(sealed)):
        with pytest.raises(SealError):
            SEALER.open("kind", "id", sealed[:length])
    with pytest.raises(SealError):
        SEALER.open("kind", "id", sealed + b"\x00")


@pytest.mark.parametrize("text", ["", "A", "A===", "a b", "é", "a+b/", "\n", "AAAA=AAAA", "a" * 50_000])
def test_text_that_is_no_seal_is_refused(text: str) -> None:
    with pytest.raises(SealError):
        SEALER.open_text("kind", "id", text)


def test_a_new_secret_opens_what_the_old_one_sealed_while_both_are_held() -> None:
    sealed = SEALER.seal("kind", "id", b"x")
    both, new = Sealer([NEW, OLD]), Sealer([NEW])

    assert both.open("kind", "id", sealed) == b"x"
    assert new.open("kind", "id", both.seal("kind", "id", b"y")) == b"y"
    with pytest.raises(SealError):
        new.open("kind", "id", sealed)


def test_a_foreign_secret_opens_nothing() -> None:
    with pytest.raises(SealError):
        Sealer([FOREIGN]).open("kind", "id", SEALER.seal("kind", "id", b"x"))


@pytest.mark.parametrize("secrets", [[], [b""], [b"short"], [OLD, b"short"], [OLD + b"x"]])
def test_a_sealer_needs_secrets_of_the_right_length(secrets: list[bytes]) -> None:
    with pytest.raises(SecretError):
        Sealer(secrets)


def write(path: Path, *secrets: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(b"\n".join(base64.b64encode(secret) for secret in secrets) + b"\n")
    path.chmod(mode)
    return path


def test_a_file_of_secrets_seals_with_its_first_line(tmp_path: Path) -> None:
    sealer = load_sealer(write(tmp_path / "secret", NEW, OLD))

    assert Sealer([NEW]).open("kind", "id", sealer.seal("kind", "id", b"x")) == b"x"
    assert sealer.open("kind", "id", SEALER.seal("kind", "id", b"y")) == b"y"


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o620, 0o644, 0o666])
def test_a_file_that_others_can_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path / "secret", OLD, mode=mode)

    with pytest.raises(SecretError, match="chmod 0600"):
        load_sealer(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "at least one"),
        (b"not base64!\n", "line 1 is not base64"),
        (base64.b64encode(OLD) + b"\nAAAA\n", "line 2 has 3 bytes, not 32"),
        (b"\xff\xfe", "cannot be read as text"),
    ],
)
def test_a_bad_file_is_told_without_a_word_of_its_content(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    path.chmod(0o600)

    with pytest.raises(SecretError, match=words) as caught:
        load_sealer(path)
    assert base64.b64encode(OLD).decode() not in str(caught.value)


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match="openssl rand -base64 32"):
        load_sealer(tmp_path / "none")
