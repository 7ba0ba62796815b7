"""The built-in providers: official endpoints only. A list that somebody derives from an AS number is wrong
in both directions (of bunny.net's 581 addresses, 29 are in the list derived from its AS).
"""

from __future__ import annotations

import re

from ipranges.networks import Family
from ipranges.sources import snapshots
from ipranges.sources.formats import read_json, read_text, verify_cloudflare, verify_imperva
from ipranges.sources.provider import Attempt, Discovery, Limits, Provider

VERIFIED_ON = "2026-11-23"
_BOTH: tuple[Family, ...] = ("v4", "v6")

CLOUDFLARE = Provider(
    name="cloudflare",
    official="https://developers.cloudflare.com/api/resources/ips",
    verified_on=VERIFIED_ON,
    expected="15 IPv4 and 7 IPv6 prefixes, 1,524,736 IPv4 addresses",
    attempts=(
        Attempt(
            ("https://api.cloudflare.com/client/v4/ips",),
            read_json("result.ipv4_cidrs[]", "result.ipv6_cidrs[]", version="result.etag", verify=verify_cloudflare),
        ),
        # The text stands on the marketing site, behind its bot rules: all but one of the known
        # incidents were there. It is asked only when the API does not give a list.
        Attempt(
            ("https://www.cloudflare.com/ips-v4/", "https://www.cloudflare.com/ips-v6/"),
            read_text,
            accept="text/plain",
        ),
    ),
    limits=Limits(min_prefix_v4=12, min_prefix_v6=28, families=_BOTH),
    bundled=snapshots.CLOUDFLARE,
    bundled_on=snapshots.BUNDLED_ON,
    note="shared by every customer of Cloudflare: verify the token, or use mutual TLS, as well",
)

FASTLY = Provider(
    name="fastly",
    official="https://www.fastly.com/documentation/reference/api/utils/public-ip-list/",
    verified_on=VERIFIED_ON,
    expected="19 IPv4 and 2 IPv6 prefixes",
    attempts=(Attempt(("https://api.fastly.com/public-ip-list",), read_json("addresses[]", "ipv6_addresses[]")),),
    limits=Limits(min_prefix_v4=14, min_prefix_v6=28, families=_BOTH),
    bundled=snapshots.FASTLY,
    bundled_on=snapshots.BUNDLED_ON,
    note="shared by every customer of Fastly",
)

_ORIGIN_FACING = "[service=CLOUDFRONT_ORIGIN_FACING]"
CLOUDFRONT = Provider(
    name="cloudfront",
    official="https://docs.aws.amazon.com/vpc/latest/userguide/aws-ip-syntax.html",
    verified_on=VERIFIED_ON,
    expected="46 IPv4 and 3 IPv6 prefixes of CLOUDFRONT_ORIGIN_FACING (CLOUDFRONT is 12 times wider)",
    attempts=(
        Attempt(
            ("https://ip-ranges.amazonaws.com/ip-ranges.json",),
            read_json(
                f"prefixes{_ORIGIN_FACING}.ip_prefix",
                f"ipv6_prefixes{_ORIGIN_FACING}.ipv6_prefix",
                version="createDate",
                serial="syncToken",
            ),
        ),
    ),
    # IPv6 was empty until 2025-06, so only IPv4 is demanded.
    limits=Limits(min_prefix_v4=12, min_prefix_v6=32, families=("v4",)),
    note="shared by every customer of CloudFront: add a secret header of your distribution",
)

GOOGLE_LB = Provider(
    name="google-lb",
    official="https://cloud.google.com/load-balancing/docs/health-checks#firewall_rules",
    verified_on=VERIFIED_ON,
    expected="2 IPv4 and 2 IPv6 prefixes, fixed in Google's documentation",
    attempts=(),
    limits=Limits(families=_BOTH),
    fixed=snapshots.GOOGLE_LB,
    note="shared by every load balancer at Google",
)

AZURE_FRONT_DOOR = Provider(
    name="azure-front-door",
    official="https://learn.microsoft.com/azure/frontdoor/origin-security",
    verified_on=VERIFIED_ON,
    expected="170 prefixes of the tag AzureFrontDoor.Backend, 92 of them IPv6",
    attempts=(
        Attempt(
            ("https://download.microsoft.com/",),
            read_json(
                "values[name=AzureFrontDoor.Backend].properties.addressPrefixes[]",
                serial="values[name=AzureFrontDoor.Backend].properties.changeNumber",
            ),
            # The file's address changes every week; old editions vanish.
            discovery=Discovery(
                "https://www.microsoft.com/en-us/download/details.aspx?id=56519",
                re.compile(
                    r'href="(https://download\.microsoft\.com/download/[A-Za-z0-9/-]+/ServiceTags_Public_\d{8}\.json)"'
                ),
            ),
        ),
    ),
    limits=Limits(min_prefix_v4=14, min_prefix_v6=32, families=_BOTH),
    note="shared by every customer of Front Door: check X-Azure-FDID; 168.63.129.16 is a health check",
)

_AKAMAI = "https://techdocs.akamai.com/property-manager/pdfs/"
AKAMAI = Provider(
    name="akamai",
    official="https://techdocs.akamai.com/origin-ip-acl/docs/welcome",
    verified_on=VERIFIED_ON,
    expected="6 IPv4 and 3 IPv6 prefixes of the Origin IP ACL",
    attempts=(
        Attempt(
            (f"{_AKAMAI}akamai_ipv4_CIDRs.txt", f"{_AKAMAI}akamai_ipv6_CIDRs.txt"),
            read_text,
            accept="text/plain",
        ),
    ),
    limits=Limits(min_prefix_v4=10, min_prefix_v6=24, families=_BOTH),
    bundled=snapshots.AKAMAI,
    bundled_on=snapshots.BUNDLED_ON,
    note="shared by every customer of Akamai; works only with Origin IP ACL switched on",
)

_BUNNY = "https://api.bunny.net/system/edgeserverlist"
BUNNY = Provider(
    name="bunny",
    official="https://docs.bunny.net/",
    verified_on=VERIFIED_ON,
    expected="581 IPv4 and 320 IPv6 addresses, changing often",
    attempts=(Attempt((_BUNNY, f"{_BUNNY}/ipv6"), read_json("[]")),),
    limits=Limits(min_prefix_v4=20, min_prefix_v6=48, families=_BOTH),
    note="shared by every customer of bunny.net",
)

IMPERVA = Provider(
    name="imperva",
    official="https://docs.imperva.com/",
    verified_on=VERIFIED_ON,
    expected="11 IPv4 and 1 IPv6 prefix",
    attempts=(
        Attempt(
            ("https://my.imperva.com/api/integration/v1/ips",),
            read_json("ipRanges[]", "ipv6Ranges[]", verify=verify_imperva),
        ),
    ),
    limits=Limits(min_prefix_v4=14, min_prefix_v6=28, families=_BOTH),
    bundled=snapshots.IMPERVA,
    bundled_on=snapshots.BUNDLED_ON,
    note="shared by every customer of Imperva",
)

GITHUB_HOOKS = Provider(
    name="github-hooks",
    official="https://docs.github.com/rest/meta/meta",
    verified_on=VERIFIED_ON,
    expected="4 IPv4 and 2 IPv6 prefixes",
    # Keys appear and change without notice: only the named one is ever read.
    attempts=(Attempt(("https://api.github.com/meta",), read_json("hooks[]")),),
    limits=Limits(min_prefix_v4=16, min_prefix_v6=28, families=_BOTH),
    bundled=snapshots.GITHUB_HOOKS,
    bundled_on=snapshots.BUNDLED_ON,
    note="everybody's web hooks: verify X-Hub-Signature-256 as well",
)

CATALOG = {
    provider.name: provider
    for provider in (
        *(CLOUDFLARE, FASTLY, CLOUDFRONT, GOOGLE_LB, AZURE_FRONT_DOOR),
        *(AKAMAI, BUNNY, IMPERVA, GITHUB_HOOKS),
    )
}
