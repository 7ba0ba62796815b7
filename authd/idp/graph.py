"""Groups from Microsoft Graph, for people who have more of them than fit into a token of Entra ID.

Such a token says where the groups are, at an address that nobody follows; here it is the configuration that says whom
to ask, and the access token of the login that says about whom (learn.microsoft.com: Groups overage claim; List a user's
memberships). Where Graph does not tell, nobody knows the groups.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from authd.errors import ProviderError, ProviderLiedError, ProviderUnavailableError
from authd.idp.events import report
from authd.idp.http import ProviderHttp
from authd.jose import parse_json_object

_PAGE = 999
# Entra's own limit for one person is some 11,000.
_MOST_PAGES = 20
_MAX_PAGE_BYTES = 1024 * 1024
_TYPE = "#microsoft.graph."
_WHAT = "list of groups at Microsoft Graph"


@dataclass(frozen=True, slots=True)
class GraphAnswer:
    """All groups of somebody, by id; None if they cannot be had. `is_passing`: that may be different soon."""

    groups: tuple[str, ...] | None
    is_passing: bool = False


async def ask_graph(
    http: ProviderHttp, provider_id: str, graph_url: str | None, access_token: str | None, *, deadline_seconds: float
) -> GraphAnswer:
    """The groups that the person of `access_token` is in, also through other groups. Never raises ProviderError: a
    login goes on without groups, as far as the policies get without them, and one line in the log says so."""
    if not graph_url:
        report("provider.groups_elsewhere", provider_id, reason="more groups than fit into a token, and no graph_url")
        return GraphAnswer(None)
    if not access_token:
        report("provider.groups_elsewhere", provider_id, reason="no access token came to ask Microsoft Graph with")
        return GraphAnswer(None)
    try:
        async with asyncio.timeout(deadline_seconds):
            return GraphAnswer(await _fetch_groups(http, provider_id, graph_url, access_token))
    except TimeoutError:
        report("provider.groups_elsewhere", provider_id, reason=f"the {_WHAT} took longer than {deadline_seconds:g} s")
        return GraphAnswer(None, is_passing=True)
    except ProviderError as error:
        report("provider.groups_elsewhere", provider_id, cause=error.cause, reason=error.sentence)
        return GraphAnswer(None, is_passing=isinstance(error, ProviderUnavailableError))


async def _fetch_groups(http: ProviderHttp, provider_id: str, graph_url: str, access_token: str) -> tuple[str, ...]:
    """Raises ProviderError. Half a list is none: what is missing may be what a rule excludes."""
    base = f"{graph_url.removesuffix('/')}/v1.0/"
    url = f"{base}me/transitiveMemberOf?$select=id&$top={_PAGE}"
    found: list[str] = []
    for _ in range(_MOST_PAGES):
        page = await _fetch_page(http, provider_id, url, access_token)
        found += _read_ids(page, provider_id)
        following = page.get("@odata.nextLink")
        if following is None:
            return tuple(dict.fromkeys(found))
        if not isinstance(following, str) or not following.startswith(base):
            # The access token goes nowhere else.
            raise ProviderLiedError(provider_id, "graph_link", f"the {_WHAT} goes on at another server")
        url = following
    raise ProviderLiedError(provider_id, "graph_endless", f"the {_WHAT} has more than {_MOST_PAGES} pages")


async def _fetch_page(http: ProviderHttp, provider_id: str, url: str, access_token: str) -> Mapping[str, Any]:
    statuses = frozenset({200, 401, 403})
    answer = await http.get(_WHAT, url, max_bytes=_MAX_PAGE_BYTES, bearer=access_token, statuses=statuses)
    if answer.status != 200:
        sentence = f"the {_WHAT} came with HTTP {answer.status}; is User.Read among the scopes, and consented to?"
        raise ProviderLiedError(provider_id, "graph_refused", sentence)
    try:
        return parse_json_object(answer.body)
    except ValueError as error:
        raise ProviderLiedError(provider_id, "graph_malformed", f"the {_WHAT} {error}") from None


def _read_ids(page: Mapping[str, Any], provider_id: str) -> list[str]:
    members = page.get("value")
    if not isinstance(members, list) or not all(isinstance(member, dict) for member in members):
        raise ProviderLiedError(provider_id, "graph_malformed", f"the {_WHAT} is no list of objects")
    kinds = [member.get("@odata.type") for member in members]
    if not all(isinstance(kind, str) and kind.startswith(_TYPE) for kind in kinds):
        raise ProviderLiedError(provider_id, "graph_malformed", f"the {_WHAT} has a member of no known kind")
    # Directory roles and administrative units are among them, and have ids of their own.
    groups = [member.get("id") for member, kind in zip(members, kinds, strict=True) if kind == f"{_TYPE}group"]
    if not all(isinstance(group, str) and group for group in groups):
        raise ProviderLiedError(provider_id, "graph_malformed", f"the {_WHAT} has a group without an id")
    return [str(group) for group in groups]
