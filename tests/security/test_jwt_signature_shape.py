"""J18, J19, J20: a signature is the right number of bytes with the right meaning, and there are two of each."""

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from tests.forge import b64, unb64
from tests.security.token_targets import OURS, PUBLISHED, Target, each_target, refusal_of

# The order of P-256 (FIPS 186-4 D.1.2.3).
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def test_j18_no_psychic_signature_is_true() -> None:
    """CVE-2022-21449: r = s = 0 was a true signature of everything."""
    values = (0, 1, ORDER - 1, ORDER, ORDER + 1, 2**256 - 1)
    for r in values:
        for s in values:
            text = PUBLISHED.with_signature(lambda _, r=r, s=s: r.to_bytes(32) + s.to_bytes(32))
            assert refusal_of(PUBLISHED, text) == "token_signature"


def test_j18_no_trivial_rsa_signature_is_true() -> None:
    modulus = OURS.private_key.public_key().public_numbers().n
    for value in (0, 1, modulus - 1, modulus, modulus + 1, 2**2048 - 1):
        text = OURS.with_signature(lambda _, value=value: value.to_bytes(256))
        assert refusal_of(OURS, text) == "token_signature"


def test_j19_every_elliptic_signature_has_a_twin_so_nothing_may_go_by_a_tokens_text() -> None:
    text = PUBLISHED.sign()
    signature = unb64(text.rpartition(".")[2])
    r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
    twin = f"{text.rpartition('.')[0]}.{b64(r.to_bytes(32) + (ORDER - s).to_bytes(32))}"
    assert twin != text
    assert PUBLISHED.verify(twin) == PUBLISHED.verify(text)


def test_j20_der_is_not_the_form_of_an_elliptic_signature() -> None:
    header, payload, _ = PUBLISHED.parts()
    der = PUBLISHED.private_key.sign(f"{header}.{payload}".encode(), ec.ECDSA(hashes.SHA256()))
    assert refusal_of(PUBLISHED, f"{header}.{payload}.{b64(der)}") == "token_signature"
    r, s = decode_dss_signature(der)
    assert PUBLISHED.verify(f"{header}.{payload}.{b64(r.to_bytes(32) + s.to_bytes(32))}")
    longer = encode_dss_signature(r, s) + b"\x00"
    assert refusal_of(PUBLISHED, f"{header}.{payload}.{b64(longer)}") == "token_signature"


@each_target
def test_j20_a_signature_of_another_length_is_refused(target: Target) -> None:
    for change in (
        lambda signature: signature[:-1],
        lambda signature: signature[1:],
        lambda signature: signature + b"\x00",
        lambda signature: b"\x00" + signature,
        lambda signature: signature * 2,
        lambda signature: signature[: len(signature) // 2],
        lambda signature: b"\x00" * len(signature),
        lambda signature: b"\x00",
        lambda signature: signature[::-1],
    ):
        assert refusal_of(target, target.with_signature(change)) == "token_signature"


def test_j20_wider_numbers_of_the_same_value_are_refused() -> None:
    text = PUBLISHED.with_signature(lambda signature: bytes(1) + signature[:32] + bytes(1) + signature[32:])
    assert refusal_of(PUBLISHED, text) == "token_signature"
