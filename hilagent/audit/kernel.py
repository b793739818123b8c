# SPDX-License-Identifier: Apache-2.0
"""The audit of one kernel or module: which ABI, which sites, what its servers can do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hilagent import abi
from hilagent.abi import Profile
from hilagent.elf import Elf
from hilagent.elf.cut import NEEDED, cut
from hilagent.elf.mapped import open_kernel
from hilagent.elf.speaks import recognise_static
from hilagent.errors import InputError

from . import handlers, judge, live
from .handlers import Entry, Served, Vectors
from .judge import Broken
from .live import Live
from .patches import Alternative, Patches, read_patches
from .program import Program
from .sites import Site, find_sites, unaccounted

Progress = Callable[[str], None]
SCRATCH = ("x16", "x17", "x18")
"""What is asked of callers: the registers that a handler may want without a stack."""


@dataclass(frozen=True)
class Server:
    """Vectors of one server in this file.

    Attributes:
        table: address of the vectors; ``symbol`` stands there.
        served: what each hcall of the contract can do; several unknown ones last.
        broken: what of that the contract forbids; those that a boot has to write over the
            code for are not ``proven``.
    """

    name: str
    symbol: str
    table: int
    entries: tuple[Entry, ...]
    served: tuple[Served, ...]
    broken: tuple[Broken, ...]


@dataclass(frozen=True)
class Caller:
    """What one site relies on of what its hcall may change."""

    site: Site
    registers: Mapping[str, Live]


@dataclass(frozen=True)
class Audit:
    """What a kernel's code says.

    Attributes:
        profile: the contract that it is held against; None for a file without vectors,
            where no ABI was asked for.
        evidence: why it is that ABI, a line each.
        callers: of each hcall that returns, and the registers of ``SCRATCH`` that its
            contract gives away.
        unaccounted: callbacks that may write an ``hvc`` at boot, and aren't known here.
    """

    elf: Elf
    profile: Profile | None
    evidence: tuple[str, ...]
    sites: tuple[Site, ...]
    servers: tuple[Server, ...]
    callers: tuple[Caller, ...]
    unaccounted: tuple[Alternative, ...]

    @property
    def findings(self) -> tuple[Broken, ...]:
        """What the code as it is in the file does, and its contract forbids."""
        return tuple(each for server in self.servers for each in server.broken if each.proven)

    @property
    def unfinished(self) -> bool:
        """Whether an hcall's handler could not be followed to its end: it may do anything.

        What finalises isn't held against a contract anyway.
        """
        return any(
            each.unproven and each.contract.effect != "finalise"
            for server in self.servers
            for each in server.served
        )

    @property
    def relied_on(self) -> tuple[tuple[Site, str, Live], ...]:
        """What callers certainly read though their hcall gives it away."""
        return tuple(
            (caller.site, register, found)
            for caller in self.callers
            for register, found in caller.registers.items()
            if found.state == "live"
        )


def audit(
    path: Path,
    *,
    system_map: Path | None = None,
    profile: str = "",
    server: str = "",
    progress: Progress = lambda what: None,
) -> Audit:
    """Return what the code of a kernel or module says about its hcalls.

    Args:
        system_map: of a stripped kernel.
        profile: the ABI to hold it against; empty for the one that its code speaks.
        server: whose contract the vectors keep that stand at ``vectors_start``.

    Raises InputError for a file that isn't one, or whose ABI can't be told.
    """
    progress("symbols and tables")
    elf = open_kernel(path, system_map)
    if elf.kind == "vmlinux" and not elf.symbols:
        raise InputError(path, "it has no symbols: neither vectors nor functions have names",
                         hint=NEEDED)  # fmt: skip
    patches = read_patches(elf)
    tables = handlers.tables(elf)
    if server:
        tables = {server: next(iter(tables.values()))}
    chosen, evidence = _profile(elf, tables, profile)
    progress("sites")
    sites = find_sites(elf, patches, chosen)
    servers = []
    if chosen is not None:
        for name, table in tables.items():
            if name in chosen.servers:
                progress(f"handlers of {name}")
                servers.append(_server(elf, patches, chosen, name, table))
    progress("callers")
    callers = tuple(_callers(elf, patches, chosen, sites)) if chosen is not None else ()
    return Audit(elf, chosen, evidence, sites, tuple(servers), callers, unaccounted(patches))


def _callers(
    elf: Elf, patches: Patches, profile: Profile, sites: tuple[Site, ...]
) -> Iterator[Caller]:
    program = Program(elf, patches)
    for site in sites:
        served = [each for (hcall, _), each in profile.contracts.items() if hcall == site.hcall]
        if site.kind != "hcall" or not any(each.returns for each in served):
            continue
        given = [name for name in SCRATCH if any(name in each.clobbers for each in served)]
        found = live.after(program, site.address, [int(name[1:]) for name in given])
        yield Caller(site, {name: found[int(name[1:])] for name in given})


def _profile(
    elf: Elf, tables: dict[str, Vectors], named: str
) -> tuple[Profile | None, tuple[str, ...]]:
    if named:
        return abi.load(named), ("it was asked for",)
    server = next((name for name in ("hyp-stub", "trans-pgd") if name in tables), "")
    if not server:
        return None, ()
    spoken = recognise_static(elf, cut(elf, server))
    return abi.load(spoken.profile), spoken.evidence


def _server(elf: Elf, patches: Patches, profile: Profile, name: str, vectors: Vectors) -> Server:
    served = tuple(handlers.serve(elf, patches, profile, name, vectors))
    broken: dict[tuple[str, str, str], Broken] = {}
    for each in served:
        for found in judge.judge(elf, each, ours=vectors.ours):
            key = (found.hcall, found.rule, found.what)
            if key not in broken or (found.proven and not broken[key].proven):
                broken[key] = found
    function = elf.symbols.function_at(vectors.address)
    return Server(
        name, function.name if function else f"{vectors.address:#x}", vectors.address,
        tuple(handlers.entries(elf, patches, name, vectors)), served, tuple(broken.values()),
    )  # fmt: skip
