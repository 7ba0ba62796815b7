"""The targets in the configuration: what is kept equal to the sources, one class a kind."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, StringConstraints

from ipranges.config.fields import AbsolutePath, Command, Model, Name, Port

# nft's own words ("fwd", "set", "ip") are no table names for it; a length bounds what the kernel takes.
_Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{1,27}$")]
_Ports = Annotated[tuple[Port, ...], Field(min_length=1, max_length=32)]
_Mode = Literal["enforce", "observe"]


class _Target(Model):
    name: Name | None = None
    sources: Annotated[tuple[str, ...], Field(min_length=1)]

    @property
    def place(self) -> str:
        """What the target writes to; two targets must not share one."""
        raise NotImplementedError

    @property
    def type_name(self) -> str:
        return str(getattr(self, "type"))  # noqa: B009  (declared by each kind)

    @property
    def label(self) -> str:
        """How messages, metrics and state name the target: its `name`, else kind and place."""
        return self.name or f"{self.type_name}:{self.place}"


class FileTarget(_Target):
    """A target that is one file, read by a program that tests it and takes it up."""

    path: AbsolutePath
    test: Command | None = None
    reload: Command | None = None

    @property
    def place(self) -> str:
        return self.path


class NginxTarget(FileTarget):
    """`pid_file` says which nginx must take the file up, where several run."""

    type: Literal["nginx-geo", "nginx-allow", "nginx-realip"]
    pid_file: AbsolutePath | None = None
    variable: _Identifier = "edge_ok"
    mode: _Mode = "enforce"


class HaproxyTarget(FileTarget):
    """`socket` is HAProxy's runtime socket (level admin): with it the list is swapped without a reload."""

    type: Literal["haproxy"]
    socket: AbsolutePath | None = None


class CaddyTarget(FileTarget):
    """`admin` is Caddy's admin endpoint, read back after a reload."""

    type: Literal["caddy"]
    snippet: _Identifier = "edge_only"
    admin: Annotated[str, StringConstraints(pattern=r"^http://(127\.0\.0\.1|localhost)(:\d+)?$")] | None = None


class TextTarget(FileTarget):
    """One CIDR a line."""

    type: Literal["text"]


class JsonTarget(FileTarget):
    """`{"ipv4": [...], "ipv6": [...]}`."""

    type: Literal["json"]


class NftablesTarget(_Target):
    """A table of its own in the host's ruleset."""

    type: Literal["nftables"]
    table: _Identifier = "ipranges"
    ports: _Ports
    mode: _Mode = "enforce"
    flush_connections: bool = False

    @property
    def place(self) -> str:
        return self.table


class IpsetTarget(_Target):
    """Two sets, `<set>-v4` and `<set>-v6`, for rules of the operator's own."""

    type: Literal["ipset"]
    set_name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,23}$")] = Field(alias="set")

    @property
    def place(self) -> str:
        return self.set_name


class UfwTarget(_Target):
    """Rules of ufw, told by their comment. Slow and without a transaction: nftables is the better choice."""

    type: Literal["ufw"]
    ports: _Ports

    @property
    def place(self) -> str:
        return "ufw:" + ",".join(map(str, self.ports))


TargetConfig = Annotated[
    NginxTarget | NftablesTarget | IpsetTarget | UfwTarget | HaproxyTarget | CaddyTarget | TextTarget | JsonTarget,
    Field(discriminator="type"),
]

TARGET_KINDS: tuple[type[_Target], ...] = (
    *(NginxTarget, NftablesTarget, IpsetTarget, UfwTarget),
    *(HaproxyTarget, CaddyTarget, TextTarget, JsonTarget),
)
TARGET_TYPES = {name: kind for kind in TARGET_KINDS for name in get_args(kind.model_fields["type"].annotation)}
