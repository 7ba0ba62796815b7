"""What a person does by hand: approve, roll back, restore, uninstall."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ipranges.asking import build_http_limits
from ipranges.config import Config, FileTarget
from ipranges.config.targets import CaddyTarget, NginxTarget
from ipranges.errors import ApplyError, NotAllowedError
from ipranges.fetch import Fetcher, fetch_source
from ipranges.files import read_if_there
from ipranges.install.file_group import build_program, install_group
from ipranges.install.kernel import build_kernel_target
from ipranges.install.lockout import note_name
from ipranges.install.program import FileChange
from ipranges.model import Edition, SourceMemory, Stamps
from ipranges.networks import NetworkSet
from ipranges.recall import recall
from ipranges.runtime import Runtime
from ipranges.sources import build_provider, fingerprint_source
from ipranges.state import StateStore
from ipranges.sync import RunReport, apply_remembered
from ipranges.targets.marker import MARK, verify_ours
from ipranges.validate import approve_candidate, judge_edition
from ipranges.verdicts import build_policy


def approve(config: Config, name: str, sha256: str, runtime: Runtime) -> RunReport:
    """Put the held edition of a source in force; raises NotAllowedError unless `sha256` names it."""
    store = StateStore(Path(config.state_dir))
    try:
        source = config.get_source(name)
    except StopIteration:
        raise NotAllowedError(f"{name} is no source of this configuration") from None
    recalled = recall(store, name)
    policy = build_policy(source, config)
    if recalled.is_newer:
        raise NotAllowedError(f"{recalled.problem}; install that version, or move the file away")
    if recalled.is_lost:
        fetched = fetch_source(
            build_provider(source), Fetcher(build_http_limits(source)), SourceMemory(name), now=runtime.now
        )
        if len(sha256) < 12 or not fetched.edition.sha256.startswith(sha256.lower()):
            raise NotAllowedError(f"{name}: what the source publishes now is {fetched.edition.sha256}")
        memory = judge_edition(SourceMemory(name), fetched.edition, None, policy, now=runtime.now).memory
        memory = replace(memory, fingerprint=fingerprint_source(source))
    else:
        memory = approve_candidate(recalled.memory, sha256, policy, now=runtime.now)
    store.save_memory(memory)
    stamps = store.load_stamps()
    store.save_stamps(stamps | {name: replace(stamps.get(name, Stamps()), last_success_at=runtime.now)})
    return apply_remembered(config, runtime)


def roll_back(config: Config, number: int, runtime: Runtime) -> RunReport:
    """Put an earlier generation in force; what is left behind is held when it comes again.

    Raises NotAllowedError where there is no such generation.
    """
    store = StateStore(Path(config.state_dir))
    generations = {generation.number: generation for generation in store.list_generations()}
    if number not in generations:
        known = ", ".join(map(str, sorted(generations))) or "none"
        raise NotAllowedError(f"there is no generation {number}; known: {known}")
    chosen = generations[number]
    for source in config.sources:
        if source.name in chosen.sources and source.type != "static":
            memory = recall(store, source.name).memory
            store.save_memory(_wind_back(memory, chosen.sources[source.name], chosen.created_at, runtime.now))
    return apply_remembered(config, runtime)


def _wind_back(memory: SourceMemory, networks: NetworkSet, fetched_at: int, now: int) -> SourceMemory:
    if memory.installed == networks:
        return memory
    refused = memory.refused_sha256
    if memory.current is not None and memory.current.networks != networks:
        refused = (*refused, memory.current.sha256)[-20:]
    return replace(
        memory,
        current=Edition(networks, fetched_at, url="rollback"),
        leaving=(),
        candidate=None,
        validators=None,
        refused_sha256=refused,
        changed_at=now,
    )


def restore(config: Config, runtime: Runtime) -> RunReport:
    """At boot, before the network is up: the firewall from what is remembered; no web server is reloaded."""
    return apply_remembered(config, runtime, only_kernel=True)


def uninstall(config: Config) -> list[str]:
    """Take the restriction away, the firewall first; a sentence for each target.

    nginx and Caddy keep a file that defines what their configuration refers to, so that they start.
    """
    store = StateStore(Path(config.state_dir))
    done = []
    for target in config.targets:
        if not isinstance(target, FileTarget):
            build_kernel_target(target).remove()
            store.remove_note(note_name(target.label))
            done.append(f"{target.label}: removed")
    for target in config.targets:
        if isinstance(target, FileTarget):
            done.append(f"{target.label}: {_leave_stub(target, store)}")
    for target in config.targets:
        store.forget_target(target.label)
    return done


def _leave_stub(target: FileTarget, store: StateStore) -> str:
    stub = _render_stub(target)
    old = read_if_there(Path(target.path))
    if old is None:
        return "was not there"
    verify_ours(old, target.path)
    if stub is None:
        return f"{target.path} is left as it is, since programs may read it"
    change = FileChange(target, NetworkSet(), stub.encode(), old)
    program = build_program(target)
    try:
        program.check_candidate(change)
        install_group([change], program, store)
    except ApplyError as error:
        return f"left as it is: {error}"
    return "nobody is refused any more; the file stays, so that the configuration that includes it loads"


def _render_stub(target: FileTarget) -> str | None:
    header = f"# {MARK} for the target {target.label}: uninstalled, nobody is refused any more.\n"
    if isinstance(target, NginxTarget):
        if target.type == "nginx-geo":
            return f"{header}geo $realip_remote_addr ${target.variable} {{\n    default 1;\n}}\n"
        return header
    if isinstance(target, CaddyTarget):
        return f"{header}({target.snippet}) {{\n\tvars ipranges uninstalled\n}}\n"
    return None
