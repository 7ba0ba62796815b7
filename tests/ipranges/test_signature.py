"""A list of one's own may be signed: then a web server that was taken over cannot widen it."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ipranges.config import parse_config
from ipranges.errors import ConfigError, ExitCode
from tests.ipranges.world import World, message_of

LIST = b'{"serial": 4, "edges": [{"cidr": "9.1.0.0/16"}, {"cidr": "9.2.0.0/16"}]}'
RAW = (serialization.Encoding.Raw, serialization.PublicFormat.Raw)


@pytest.fixture
def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


@pytest.fixture
def fleet(world: World, key: Ed25519PrivateKey) -> World:
    public = base64.b64encode(key.public_key().public_bytes(*RAW)).decode()
    world.sources = [
        {"name": "fleet", "type": "url", "url": world.server.url("/f"), "retries": 0, "json": "edges[].cidr"}
        | {"serial": "serial", "public_key": public}
    ]
    world.use_text_target()
    world.server.serve("/f", LIST)
    world.server.serve("/f.sig", key.sign(LIST), content_type="application/octet-stream")
    return world


def test_a_signed_list_is_installed_raw_or_base64(fleet: World, key: Ed25519PrivateKey) -> None:
    assert fleet.sync().exit_code == ExitCode.OK
    assert fleet.listed().all_cidrs == ("9.1.0.0/16", "9.2.0.0/16")
    fleet.server.serve("/f.sig", base64.b64encode(key.sign(LIST)) + b"\n")
    assert fleet.sync().exit_code == ExitCode.OK


@pytest.mark.parametrize("forged", [b"", b"x" * 64, b"not base64!", b"x" * 4000])
def test_without_the_key_s_signature_the_old_list_stays(forged: bytes, fleet: World) -> None:
    fleet.sync()
    fleet.server.serve("/f", LIST.replace(b"9.2.0.0/16", b"9.2.0.0/15"))
    fleet.server.serve("/f.sig", forged)
    report = fleet.sync()
    assert report.exit_code == ExitCode.SOURCE_FAILED
    assert "signature is not the configured key's" in message_of(report, "fleet")
    assert fleet.listed().all_cidrs == ("9.1.0.0/16", "9.2.0.0/16")


def test_a_signature_of_another_list_or_another_key_is_none(fleet: World, key: Ed25519PrivateKey) -> None:
    fleet.server.serve("/f", LIST + b" ")
    assert fleet.sync().exit_code == ExitCode.STALE
    fleet.server.serve("/f", LIST)
    fleet.server.serve("/f.sig", Ed25519PrivateKey.generate().sign(LIST))
    assert fleet.sync().exit_code == ExitCode.STALE
    fleet.server.answers.pop("/f.sig")
    assert "status 404" in message_of(fleet.sync(), "fleet")
    fleet.server.serve("/f.sig", key.sign(LIST))
    assert fleet.sync().exit_code == ExitCode.OK


def test_an_old_list_with_its_good_signature_is_told_by_its_serial(fleet: World, key: Ed25519PrivateKey) -> None:
    fleet.sync()
    old = LIST.replace(b'"serial": 4', b'"serial": 3').replace(b"9.2.0.0/16", b"9.3.0.0/16")
    fleet.server.serve("/f", old)
    fleet.server.serve("/f.sig", key.sign(old))
    assert "serial 3, older than 4" in message_of(fleet.sync(), "fleet")
    assert fleet.listed().all_cidrs == ("9.1.0.0/16", "9.2.0.0/16")


@pytest.mark.parametrize("value", ["", "AAAA", "not base64", "A" * 43])
def test_what_is_no_key_is_told_with_the_configuration(value: str, fleet: World) -> None:
    fleet.sources[0]["public_key"] = value
    with pytest.raises(ConfigError, match="Ed25519 public key"):
        parse_config(fleet.render_config(), source="x")
