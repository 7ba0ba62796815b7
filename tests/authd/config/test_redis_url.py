"""The addresses of Redis in the setting `state`."""

from __future__ import annotations

from pathlib import Path

import pytest

from authd.config.mistakes import SettingError
from authd.config.redis_url import parse_redis_url
from tests.authd.config.samples import find_only_mistake, parse_values


def test_a_single_server() -> None:
    url = parse_redis_url("redis://redis.example.com")
    assert (url.kind, url.addresses, url.database) == ("single", (("redis.example.com", 6379),), 0)
    assert (url.is_tls, url.username, url.password, url.replicas) == (False, None, None, 0)


def test_everything_that_a_single_server_can_have() -> None:
    files = "ca_file=/etc/ca.pem&cert_file=/etc/cert.pem&key_file=/etc/key.pem"
    url = parse_redis_url(f"rediss://authd:p%40ss%2Fword@[2001:db8::7]:6380/3?replicas=2&{files}")
    assert url.addresses == (("2001:db8::7", 6380),)
    assert (url.username, url.password, url.database, url.replicas) == ("authd", "p@ss/word", 3, 2)
    assert url.is_tls
    assert url.files["ca_file"] == Path("/etc/ca.pem")


def test_three_sentinels_wait_for_one_replica() -> None:
    url = parse_redis_url("redis+sentinel://authd@a,b:26380,c/authd-master/2?password_file=/etc/authd/redis.password")
    assert url.kind == "sentinel"
    assert url.addresses == (("a", 26379), ("b", 26380), ("c", 26379))
    assert (url.service, url.database, url.replicas) == ("authd-master", 2, 1)
    assert url.files == {"password_file": Path("/etc/authd/redis.password")}


def test_a_cluster_may_go_without_replicas() -> None:
    url = parse_redis_url("rediss+cluster://a,b,c:7000?replicas=0")
    assert (url.kind, url.is_tls, url.replicas) == ("cluster", True, 0)
    assert url.addresses == (("a", 6379), ("b", 6379), ("c", 7000))


def test_what_is_shown_holds_no_password() -> None:
    url = parse_redis_url("redis+sentinel://authd:hunter2@a,b/m?sentinel_username=hunter3")
    assert url.shown == "redis+sentinel://a:26379,b:26379/m"
    assert "hunter2" not in repr(url)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("redis:/localhost", "no address of Redis"),
        ("redis://", "no address of Redis"),
        ("redis://:hunter2#@localhost", "no address of Redis"),
        ("redis://user:hunter2@redis.example.com/zero", "no number of a database"),
        ("redis://:hunter2@a,b", "several hosts"),
        ("redis://:hunter2@a b", "host that is none"),
        ("redis://:hunter2@a:0", "host that is none"),
        ("redis://:hunter2@a:65536", "host that is none"),
        ("redis+sentinel://:hunter2@a,b,c", "lacks the name"),
        ("redis+sentinel://:hunter2@a,b,c/m/x", "no number of a database"),
        ("redis+cluster://:hunter2@a,b,c/1", "no number of a database"),
        ("redis://:hunter2@a?pasword_file=hunter2", "parameter it cannot have: pasword_file"),
        ("redis://a?password=hunter2", "parameter it cannot have: password"),
        ("redis://a?replicas=1&replicas=2", "parameter it cannot have"),
        ("redis://a?ca_file=/etc/hunter2", "parameter it cannot have: ca_file"),
        ("rediss://a?cert_file=/etc/hunter2", "cert_file without key_file"),
        ("redis://a?password_file=hunter2", "no whole path"),
        ("redis://:hunter2@a?password_file=/etc/authd/redis", "a password and a password_file"),
        ("redis://a?replicas=6", "wrong replicas"),
        ("redis://a?replicas=yes", "wrong replicas"),
    ],
)
def test_a_mistake_says_what_is_wrong_and_shows_no_password(text: str, words: str) -> None:
    mistake = find_only_mistake(state=text)
    assert mistake.key == "state"
    assert words in mistake.message
    assert "hunter2" not in str(mistake)


def test_an_unknown_scheme_names_those_that_there_are() -> None:
    with pytest.raises(SettingError):
        parse_redis_url("memcached://localhost")
    assert "redis+sentinel://" in find_only_mistake(state="memcached://localhost").allowed


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_the_setting_takes_it_as_it_is(scheme: str) -> None:
    assert parse_values(state=f"{scheme}://a:1/0").state == f"{scheme}://a:1/0"
