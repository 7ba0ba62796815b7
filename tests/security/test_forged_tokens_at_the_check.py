"""Forged tokens (attacks.md J1 to J24) at the door itself: as cookie, as header and as bearer.

What the parser says to each is told in its own tests. Here only the door counts: 401, one and the same answer, no
error, nothing asked of any other host. Many are signed with authd's own key, so that nothing else can refuse them.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from authd.keys import SigningKey, render_jwk
from tests.forge import as_bytes, b64, forge_token, public_jwk, rsa_key
from tests.security.edge import Edge, Reply

Forge = Callable[[dict[str, Any], SigningKey], str]


def signed(header: Any, payload: Any, key: SigningKey) -> str:
    return forge_token(header, payload, key.private_key, "RS256")


def good_header(key: SigningKey, **members: Any) -> dict[str, Any]:
    return {"alg": "RS256", "kid": key.key_id, "typ": "JWT"} | members


def with_header(**members: Any) -> Forge:
    return lambda claims, key: signed(good_header(key, **members), claims, key)


def without_signature(algorithm: Any, signature: str) -> Forge:
    def forge(claims: dict[str, Any], key: SigningKey) -> str:
        return f"{b64(as_bytes(good_header(key, alg=algorithm)))}.{b64(as_bytes(claims))}.{signature}"

    return forge


def with_hmac(digest: str, secret: Callable[[SigningKey], bytes]) -> Forge:
    def forge(claims: dict[str, Any], key: SigningKey) -> str:
        text = f"{b64(as_bytes(good_header(key, alg=f'HS{digest[3:]}')))}.{b64(as_bytes(claims))}"
        return f"{text}.{b64(hmac.new(secret(key), text.encode(), getattr(hashlib, digest)).digest())}"

    return forge


def public_pem(key: SigningKey) -> bytes:
    return key.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


HMAC_SECRETS: dict[str, Callable[[SigningKey], bytes]] = {
    "PEM": public_pem,
    "PEM without its last line end": lambda key: public_pem(key).rstrip(),
    "PKCS#1 PEM": lambda key: key.public_key.public_bytes(Encoding.PEM, PublicFormat.PKCS1),
    "DER": lambda key: key.public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    "JWK": lambda key: json.dumps(render_jwk(key.key_id, key.public_key)).encode(),
    "JWKS": lambda key: json.dumps({"keys": [render_jwk(key.key_id, key.public_key)]}).encode(),
    "modulus": lambda key: key.public_key.public_numbers().n.to_bytes(256, "big"),
    "certificate": lambda key: key.certificate_pem.encode(),
    "nothing": lambda key: b"",
    "kid": lambda key: key.key_id.encode(),
}


def by_attacker(**members: Any) -> Forge:
    def forge(claims: dict[str, Any], key: SigningKey) -> str:
        return forge_token(good_header(key, **members), claims, rsa_key("attacker"), "RS256")

    return forge


def changed_text(change: Callable[[str], str]) -> Forge:
    return lambda claims, key: change(signed(good_header(key), claims, key))


def raw_payload(render: Callable[[dict[str, Any]], bytes | str]) -> Forge:
    return lambda claims, key: signed(good_header(key), render(claims), key)


def raw_header(render: Callable[[dict[str, Any]], bytes | str]) -> Forge:
    return lambda claims, key: signed(render(good_header(key)), claims, key)


def _flattened(token: str) -> str:
    header, payload, signature = token.split(".")
    return json.dumps({"protected": header, "payload": payload, "signature": signature})


def _python_jwt_mix(token: str) -> str:
    """CVE-2022-39227: one parser reads the JSON, another one the text before the dots."""
    header, payload, signature = token.split(".")
    return f'{{" {header}.{payload}.":"","protected":"{header}","payload":"{payload}","signature":"{signature}"}}'


def _other_last_character(token: str) -> str:
    """256 bytes leave four bits of the last character free: another text, the same bytes."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return token[:-1] + alphabet[alphabet.index(token[-1]) ^ 1]


def _nested(claims: dict[str, Any], depth: int) -> str:
    return json.dumps(claims)[:-1] + ', "x": ' + "[" * depth + "]" * depth + "}"


J1 = {
    f"J1 alg {alg!r} {signature!r}": without_signature(alg, signature)
    for alg in ("none", "None", "NONE", "nOnE", "none ", "", None, ["RS256"], 1)
    for signature in ("", "AA")
}
J2 = {
    f"J2 {digest} {name}": with_hmac(digest, secret)
    for digest in ("sha256", "sha512")
    for name, secret in HMAC_SECRETS.items()
}
J3_J4 = {
    "J3 jwk": lambda claims, key: by_attacker(jwk=public_jwk("attacker"))(claims, key),
    "J3 jwk oct": by_attacker(jwk={"kty": "oct", "k": "AA"}),
    "J4 jku": by_attacker(jku="http://127.0.0.1:9/jwks"),
    "J4 jku file": by_attacker(jku="file:///etc/passwd"),
    "J4 x5u": by_attacker(x5u="http://169.254.169.254/"),
    "J4 x5c": by_attacker(x5c=["AA"]),
    "another key under our name": by_attacker(),
}
J5 = {
    f"J5 kid {kid!r:.40}": with_header(kid=kid)
    for kid in (
        "../../../../dev/null",
        "/proc/self/environ",
        "' OR '1'='1",
        "K\x00",
        "K\n",
        "K" * 5000,
        "",
        ["K"],
        1,
        None,
    )
}
J5["J5 no kid"] = lambda claims, key: signed({"alg": "RS256"}, claims, key)
J5["J5 kid in upper case"] = lambda claims, key: signed(good_header(key, kid=key.key_id.upper()), claims, key)
J5["J5 kid and a line end"] = lambda claims, key: signed(good_header(key, kid=key.key_id + "\n"), claims, key)
J6_J7 = {f"J6 crit {crit!r}": with_header(crit=crit) for crit in (["exp"], ["x"], [], "exp", ["b64"], None, [1], [[]])}
J6_J7 |= {
    "J7 b64": with_header(b64=False),
    "J7 b64 and crit": with_header(b64=False, crit=["b64"]),
    "J7 b64 true": with_header(b64=True),
}
J8_J11 = {
    "J8 two alg": raw_header(lambda header: '{"alg":"none",' + json.dumps(header)[1:]),
    "J8 two aud": raw_payload(lambda claims: '{"aud":"evil",' + json.dumps(claims)[1:]),
    "J8 two sub, escaped": raw_payload(lambda claims: json.dumps(claims)[:-1] + ',"\\u0073ub":"root"}'),
    "J9 UTF-16": raw_payload(lambda claims: json.dumps(claims).encode("utf-16")),
    "J9 UTF-32": raw_payload(lambda claims: json.dumps(claims).encode("utf-32-le")),
    "J9 BOM": raw_payload(lambda claims: b"\xef\xbb\xbf" + json.dumps(claims).encode()),
    "J9 BOM in the header": raw_header(lambda header: b"\xef\xbb\xbf" + json.dumps(header).encode()),
    "J9 NaN": raw_payload(lambda claims: json.dumps(claims)[:-1] + ',"x":NaN}'),
    "J9 no UTF-8": raw_payload(lambda claims: json.dumps(claims).encode()[:-1] + b',"x":"\xff"}'),
    "J9 lone surrogate": raw_payload(lambda claims: json.dumps(claims)[:-1] + ',"x":"\\ud800"}'),
    "J9 an array": raw_payload(lambda claims: json.dumps([claims])),
    "J10 16 kB": raw_payload(lambda claims: json.dumps(claims | {"x": "x" * 16_000})),
    "J10 1 MB": raw_payload(lambda claims: json.dumps(claims | {"x": "x" * 1_000_000})),
    "J10 header of 100 kB": with_header(x="x" * 100_000),
    "J10 5,000 digits": raw_payload(lambda claims: json.dumps(claims)[:-1] + ',"x":' + "9" * 5000 + "}"),
    "J11 deep payload": raw_payload(lambda claims: _nested(claims, 2000)),
    "J11 deep header": lambda claims, key: f"{b64(b'[' * 3000)}.{b64(as_bytes(claims))}.AA",
}
J19_J24 = {
    "J20 signature cut": changed_text(lambda token: token[:-4]),
    "J20 signature and more": changed_text(lambda token: token + "AAAA"),
    "J21 padding": changed_text(lambda token: token + "=="),
    "J21 a line end": changed_text(lambda token: token + "\n"),
    "J21 a space": changed_text(lambda token: token.replace(".", ". ", 1)),
    "J21 spare bits": changed_text(_other_last_character),
    "J21 dots in percent": changed_text(lambda token: token.replace(".", "%2e")),
    "J21 standard alphabet": changed_text(lambda token: token.replace("-", "+").replace("_", "/") + "+"),
    "J22 one part": changed_text(lambda token: token.partition(".")[0]),
    "J22 two parts": changed_text(lambda token: token.rpartition(".")[0]),
    "J22 four parts": changed_text(lambda token: token + ".AA"),
    "J22 five parts": changed_text(lambda token: f"{token}.AA.AA"),
    "J22 a thousand dots": lambda claims, key: "eyJ" + "." * 1000,
    "J22 JSON": changed_text(_flattened),
    "J22 JSON and text": changed_text(_python_jwt_mix),
    "J23 a token in a token": raw_payload(lambda claims: b64(as_bytes(claims))),
    "J24 PS256": lambda claims, key: forge_token(good_header(key, alg="PS256"), claims, key.private_key, "PS256"),
    "J24 RS512": lambda claims, key: forge_token(good_header(key, alg="RS512"), claims, key.private_key, "RS512"),
    "J24 RS512 said, RS256 done": with_header(alg="RS512"),
    "J24 ES256": lambda claims, key: forge_token(
        good_header(key, alg="ES256"), claims, ec.generate_private_key(ec.SECP256R1()), "ES256"
    ),
    "J18 psychic": without_signature("ES256", b64(b"\x00" * 64)),
    "J18 psychic RSA": without_signature("RS256", b64(b"\x00" * 256)),
    "another's signature": lambda claims, key: (
        signed(good_header(key), claims, key).rpartition(".")[0]
        + "."
        + signed(good_header(key), {**claims, "sub": "root"}, key).rpartition(".")[2]
    ),
}
FORGED = {
    "J1 none": J1,
    "J2 HMAC": J2,
    "J3 and J4 keys in the header": J3_J4,
    "J5 kid": J5,
    "J6 and J7 extensions": J6_J7,
    "J8 to J11 JSON": J8_J11,
    "J18 to J24 signatures": J19_J24,
}


def ways_of(edge: Edge, token: str) -> Iterator[tuple[str, dict[str, str]]]:
    yield "cookie", {"cookie": edge.cookie(token), "x_authd_session": token}
    yield "cookie unseen by nginx", {"cookie": f"a=b;\t{edge.cookie(token)}"}
    yield "header", {"cf_access_token": token}
    yield "bearer", {"authorization": f"Bearer {token}"}


def signing_key(edge: Edge) -> SigningKey:
    return edge.worker.keyring().signing_key(edge.now)


@pytest.mark.parametrize("group", FORGED)
async def test_a_forged_token_is_nobodys(edge: Edge, group: str, monkeypatch: pytest.MonkeyPatch) -> None:
    session = await edge.log_in()
    nobody = await edge.check()
    assert nobody.status == 401
    assert (await edge.check(cookie=edge.cookie(edge.token(session)))).status == 200
    monkeypatch.setattr(socket.socket, "connect", _no_network)
    taken = []
    for name, forge in FORGED[group].items():
        token = forge(edge.claims(session), signing_key(edge))
        for way, headers in ways_of(edge, token):
            raw = {name: value.encode("latin-1", "replace") for name, value in headers.items()}
            if await edge.check(**raw) != nobody:
                taken.append((name, way))
    assert taken == []


async def test_the_forge_of_these_tests_can_make_a_good_token(edge: Edge) -> None:
    """Else every refusal above would prove nothing."""
    session = await edge.log_in()
    token = signed(good_header(signing_key(edge)), edge.claims(session), signing_key(edge))
    for way, headers in ways_of(edge, token):
        assert (await edge.check(**headers)).status == 200, way


def _no_network(*_: object) -> None:
    raise AssertionError("a token made authd call somebody")


async def test_two_credentials_do_not_make_a_bad_one_good(edge: Edge) -> None:
    alice, bob = await edge.log_in(), await edge.log_in("bob@example.com")
    good, other = edge.token(alice), edge.token(bob)
    forged = by_attacker()(edge.claims(alice), signing_key(edge))
    both: dict[str, Reply] = {
        "good first": await edge.check(cookie=f"{edge.cookie(good)}; {edge.cookie(forged)}"),
        "good last": await edge.check(cookie=f"{edge.cookie(forged)}; {edge.cookie(good)}"),
    }
    for way, answer in both.items():
        assert (answer.status, answer.get("x-accel-expires")) == (200, "0"), way
        assert answer.get("cf-access-jwt-assertion") == good
    for header in (f"{edge.cookie(good)}; {edge.cookie(other)}", f"{edge.cookie(other)}; {edge.cookie(good)}"):
        assert (await edge.check(cookie=header)).status == 403, "two people are nobody"
    assert (await edge.check(cookie=edge.cookie(good), cf_access_token=other)).status == 403
    assert (await edge.check(cookie=edge.cookie(forged), authorization=f"Bearer {good}")).status == 401
