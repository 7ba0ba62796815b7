"""Targets that live in the kernel: nftables, ipset, ufw. Each is read, replaced as a whole, and put back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ipranges.config import IpsetTarget, NftablesTarget, UfwTarget
from ipranges.errors import ApplyError, PutBackError, RefusedError
from ipranges.install.commands import run_command
from ipranges.networks import FAMILIES, NetworkSet, parse_network_set
from ipranges.targets import ipset, nftables, ufw


@dataclass(frozen=True, slots=True)
class Live:
    """What a target holds now. `networks` is None where it is not there or not readable.

    `shape` is everything but the addresses, as its program prints it; `listing` restores it.
    """

    networks: NetworkSet | None
    shape: str = ""
    listing: str = ""


class KernelTarget(Protocol):
    """One target in the kernel."""

    def read(self, expected: NetworkSet | None = None) -> Live:
        """What is live now; raises ApplyError where the program itself fails.

        `expected` is a hint that saves work where it is right, and changes nothing where it is wrong.
        """

    def replace(self, networks: NetworkSet, *, keep_rules: bool) -> None:
        """Put `networks` in force; `keep_rules` where only the addresses differ. Raises ApplyError."""

    def put_back(self, before: Live) -> None:
        """Restore what `read` returned; raises ApplyError."""

    def remove(self) -> None:
        """Take everything of ours away; raises ApplyError."""


class NftablesKernel:
    """A table of its own. A transaction of nft is one netlink batch: all of it, or nothing."""

    def __init__(self, target: NftablesTarget) -> None:
        self._target = target

    def read(self, expected: NetworkSet | None = None) -> Live:
        tables = run_command(("nft", "list", "tables", "inet")).split("\n")
        if f"table inet {self._target.table}" not in tables:
            return Live(None)
        listing = run_command(("nft", "-s", "list", "table", "inet", self._target.table))
        try:
            networks, shape = nftables.parse_table(listing, expected)
        except RefusedError:
            return Live(None, "", listing)
        return Live(networks, shape, listing)

    def replace(self, networks: NetworkSet, *, keep_rules: bool) -> None:
        if keep_rules:
            text = nftables.render_elements(self._target.table, networks)
        else:
            text = nftables.render_table(self._target, networks)
        run_command(("nft", "-f", "-"), text=text)

    def put_back(self, before: Live) -> None:
        table = f"table inet {self._target.table}"
        run_command(("nft", "-f", "-"), text=f"add {table}\ndelete {table}\n{before.listing}")

    def remove(self) -> None:
        self.put_back(Live(None))


class IpsetKernel:
    """Two sets; rules that use them are the operator's."""

    def __init__(self, target: IpsetTarget) -> None:
        self._name = target.set_name

    def read(self, expected: NetworkSet | None = None) -> Live:
        del expected
        names = [f"{self._name}-{family}" for family in FAMILIES]
        if not set(names) <= self._existing():
            return Live(None)
        saved = "".join(run_command(("ipset", "save", name)) for name in names)
        return Live(ipset.parse_ipset(self._name, saved), "", saved)

    def replace(self, networks: NetworkSet, *, keep_rules: bool) -> None:
        text = ipset.render_ipset(self._name, networks, self._existing())
        run_command(("ipset", "restore"), text=text)

    def put_back(self, before: Live) -> None:
        if before.networks is not None:
            self.replace(before.networks, keep_rules=True)

    def remove(self) -> None:
        """Destroy both sets; one that a rule still uses is emptied of nothing and said so."""
        for name in sorted(self._existing()):
            if name in [f"{self._name}-{family}" for family in FAMILIES]:
                run_command(("ipset", "destroy", name))

    @staticmethod
    def _existing() -> frozenset[str]:
        return frozenset(run_command(("ipset", "list", "-n")).split())


class UfwKernel:
    """Rules of ufw. No transaction: what is needed is added before what is not needed goes."""

    def __init__(self, target: UfwTarget) -> None:
        self._target = target

    def read(self, expected: NetworkSet | None = None) -> Live:
        del expected
        added = run_command(("ufw", "show", "added"))
        rules = ufw.parse_rules(self._target, added)
        if not rules.any:
            return Live(None, "", added)
        shape = "" if rules.any == rules.whole else "incomplete"
        return Live(parse_network_set(rules.whole), shape, added)

    def replace(self, networks: NetworkSet, *, keep_rules: bool) -> None:
        rules = ufw.parse_rules(self._target, run_command(("ufw", "show", "added")))
        wanted = frozenset(networks.all_cidrs)
        for rule in ufw.render_rules(self._target, tuple(sorted(wanted - set(map(_canonical, rules.whole))))):
            run_command(("ufw", *rule))
        added = run_command(("ufw", "show", "added"))
        known = ufw.parse_rules(self._target, added).any
        keep = frozenset(printed for printed in known if _canonical(printed) in wanted)
        for rule in ufw.find_rules_to_delete(self._target, added, keep):
            run_command(("ufw", "delete", *rule))

    def put_back(self, before: Live) -> None:
        if before.networks is not None:
            self.replace(before.networks, keep_rules=True)
        else:
            self.remove()

    def remove(self) -> None:
        added = run_command(("ufw", "show", "added"))
        for rule in ufw.find_rules_to_delete(self._target, added, frozenset()):
            run_command(("ufw", "delete", *rule))


def build_kernel_target(target: NftablesTarget | IpsetTarget | UfwTarget) -> KernelTarget:
    """The part that speaks with the kernel for one configured target."""
    if isinstance(target, NftablesTarget):
        return NftablesKernel(target)
    return IpsetKernel(target) if isinstance(target, IpsetTarget) else UfwKernel(target)


def replace_and_prove(kernel: KernelTarget, before: Live, networks: NetworkSet, *, keep_rules: bool) -> Live:
    """Put `networks` in force and read them back; raises ApplyError after putting the old state back.

    Raises PutBackError where that failed too.
    """
    try:
        kernel.replace(networks, keep_rules=keep_rules)
        after = kernel.read(networks)
        if after.networks != networks or after.shape == "incomplete":
            raise ApplyError("the live set, read back, is not the new one")
    except (ApplyError, RefusedError) as error:
        _put_back(kernel, before, error)
        raise ApplyError(str(error)) from None
    return after


def _canonical(printed: str) -> str:
    """A network as ufw prints it, in our spelling: ufw drops the length of a single address."""
    return parse_network_set([printed]).all_cidrs[0]


def _put_back(kernel: KernelTarget, before: Live, cause: Exception) -> None:
    try:
        kernel.put_back(before)
    except ApplyError as error:
        raise PutBackError(f"{cause}; and the old state could not be put back: {error}") from None
