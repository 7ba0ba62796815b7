"""Rate limits of logins: by address (an IPv6 household is one), by person, over one window."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from authd.errors import LoginLimitError
from authd.limits import LoginLimits
from tests.authd.house import NOW, House


@pytest.fixture
def limits(house: House) -> LoginLimits:
    return LoginLimits(house.store, limits=lambda: (3, 2, 60), clock=house.clock)


async def count(limits: LoginLimits, *addresses: str) -> None:
    for address in addresses:
        await limits.count_address(ip_address(address))


async def test_an_address_has_so_many_logins_in_a_window(house: House, limits: LoginLimits) -> None:
    await count(limits, *["192.0.2.1"] * 3)
    with pytest.raises(LoginLimitError) as caught:
        await count(limits, "192.0.2.1")
    assert (caught.value.kind, caught.value.retry_after_seconds, caught.value.status) == ("login_address", 60, 429)
    await count(limits, "192.0.2.2")

    house.clock.now = NOW + 60
    await count(limits, "192.0.2.1")


async def test_a_network_of_ipv6_is_one_address(limits: LoginLimits) -> None:
    await count(limits, "2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::")
    with pytest.raises(LoginLimitError):
        await count(limits, "2001:db8::3")
    await count(limits, "2001:db8:0:1::1")


async def test_a_person_has_so_many_logins_wherever_from(limits: LoginLimits) -> None:
    for _ in range(2):
        await limits.count_person("alice")
    with pytest.raises(LoginLimitError) as caught:
        await limits.count_person("alice")
    assert caught.value.kind == "login_person"
    await limits.count_person("bob")


async def test_a_limit_that_was_raised_counts_at_once(house: House) -> None:
    allowed = [1]
    limits = LoginLimits(house.store, limits=lambda: (allowed[0], 9, 60), clock=house.clock)
    await count(limits, "192.0.2.1")
    with pytest.raises(LoginLimitError):
        await count(limits, "192.0.2.1")

    allowed[0] = 10

    await count(limits, "192.0.2.1")
