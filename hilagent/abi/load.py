# SPDX-License-Identifier: Apache-2.0
"""From a profile's name, or a lab's own file, to a :class:`Profile`.

A name is that of a file in ``profiles/``; ``NAME@VERSION`` (``x0-mainline@5.10``)
asks for the numbers of a kernel version where they differ. ``extends: OTHER``
and each of ``versions`` lay a tree over another; ``null`` takes a field out.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hilagent import document, errors, text
from hilagent.abi.contract import UNKNOWN, Contract, Profile, Result, Server
from hilagent.abi.schema import HcallSpec, ProfileSpec, VersionSpec
from hilagent.document import Node

_FOLDER = Path(__file__).with_name("profiles")
_MASK = (1 << 64) - 1
MAX_EXTENDS = 8


def profiles() -> tuple[str, ...]:
    """Return the names of the profiles that come with hilagent."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


def load(name: str, *, kernel: str = "") -> Profile:
    """Return the profile ``name``, or the one in the file ``name`` (if it ends in .yaml).

    Args:
        name: of the profile; ``NAME@VERSION`` is short for ``kernel``.
        kernel: version whose numbers are meant; empty for the newest.

    Raises:
        UsageError: no such profile, or not for this kernel.
        InputError: the file is wrong; says every error in it.
    """
    name, _, version = name.partition("@")
    tree = _tree(_path(name))
    wanted = kernel or version
    tree, chosen = _versioned(tree, wanted)
    return _profile(tree, chosen)


def _path(name: str) -> Path:
    if name.endswith(".yaml"):
        return Path(name)
    if name in profiles():
        return _FOLDER / f"{name}.yaml"
    near = difflib.get_close_matches(name, profiles(), 3, 0.5)
    raise errors.UsageError(
        f"no hcall profile '{text.scrub_line(name, limit=80)}'"
        + (f"; did you mean {' or '.join(near)}?" if near else ""),
        hint=f"known profiles: {', '.join(profiles())}, or the path of a .yaml file",
    )


def _tree(path: Path, above: tuple[Path, ...] = ()) -> Node:
    tree = document.read(path)
    if not isinstance(tree.value, dict):
        raise errors.InputError(path, "expected fields (name: value)", line=tree.line)
    base = tree.value.pop("extends", None)
    if base is None:
        return tree
    if base.value not in profiles():
        found = text.scrub_line(str(base.value), limit=80)
        raise errors.InputError(
            base.path,
            f"no hcall profile '{found}'",
            line=base.line,
            field="extends",
            hint=f"known profiles: {', '.join(profiles())}",
        )
    other = _FOLDER / f"{base.value}.yaml"
    if other == path or other in above or len(above) >= MAX_EXTENDS:
        raise errors.InputError(
            path, "extends itself, or too deep", line=base.line, field="extends"
        )
    return document.merge(_tree(other, (*above, path)), tree)


def _number(version: str) -> tuple[int, int]:
    """Return (major, minor) of a kernel release; (-1, -1) if it isn't one."""
    parts = version.split("-")[0].split(".")[:2]
    if len(parts) == 2 and all(part.isdecimal() and len(part) < 6 for part in parts):
        return int(parts[0]), int(parts[1])
    return -1, -1


def _versioned(tree: Node, wanted: str) -> tuple[Node, str]:
    """Return ``tree`` as of kernel ``wanted`` (empty: newest), and the version chosen."""
    assert isinstance(tree.value, dict)
    node = tree.value.pop("versions", None)
    if node is None:
        return tree, ""
    if not isinstance(node.value, list):
        raise errors.InputError(node.path, "expected a list", line=node.line, field="versions")
    steps = [(document.validate(each, VersionSpec).since, each) for each in node.value]
    steps.sort(key=lambda step: _number(step[0]))
    number = _number(wanted)
    if wanted and (number < (0, 0) or not steps or number < _number(steps[0][0])):
        first = steps[0][0] if steps else "nothing"
        raise errors.UsageError(
            f"this profile describes kernels from {first} on, not '{text.scrub_line(wanted)}'"
        )
    chosen = ""
    for since, each in steps:
        if wanted and _number(since) > number:
            break
        changes = each.get("changes")
        assert changes is not None
        tree, chosen = document.merge(tree, changes), since
    return tree, wanted or chosen


def _without_nulls(node: Node) -> Node:
    """Return ``node`` without the fields that are null: they were taken out.

    Those of ``by_server`` stay: they take something out of what they are laid over.
    """
    if not isinstance(node.value, dict):
        return node
    kept = {
        key: each if key == "by_server" else _without_nulls(each)
        for key, each in node.value.items()
        if each.value is not None
    }
    return Node(kept, node.path, node.line)


def _profile(tree: Node, kernel: str) -> Profile:
    tree = _without_nulls(tree)
    split, problems = _by_server(tree)
    spec = document.validate(split, ProfileSpec)
    contracts: dict[tuple[str, str], Contract] = {}
    for hcall, server, node in _cells(tree, spec):
        try:
            rule = document.validate(node, HcallSpec)
            contracts[hcall, server] = _contract(spec, hcall, server, rule)
        except errors.InputError as error:
            problems.append(error)
    problems += _cross_checks(tree, spec)
    if problems:
        raise document.gather(problems)
    return Profile(
        name=spec.profile,
        about=spec.about,
        selector=spec.selector,
        kernel=kernel,
        error_name=spec.error.name if spec.error else "",
        error=spec.error.value & _MASK if spec.error else None,
        bound_name=spec.bound or "",
        numbers=_numbers(spec),
        servers={
            name: Server(name, each.about, tuple(each.origins), each.others)
            for name, each in spec.servers.items()
        },
        contracts=contracts,
        digest=hashlib.sha256(json.dumps(tree.plain(), sort_keys=True).encode()).hexdigest()[:16],
    )


def _numbers(spec: ProfileSpec) -> dict[str, int]:
    numbers = {name: h.number for name, h in spec.hcalls.items() if h.number is not None}
    return dict(sorted(numbers.items(), key=lambda item: item[1]))


def _by_server(tree: Node) -> tuple[Node, list[errors.InputError]]:
    """Return ``tree`` with every ``by_server`` taken out, and what was wrong with them."""
    assert isinstance(tree.value, dict)
    problems = []
    known = tree.get("servers")
    out = dict(tree.value)
    rules = {"unknown": tree.get("unknown")}
    calls = tree.get("hcalls")
    if calls is not None and isinstance(calls.value, dict):
        rules |= calls.value
        out["hcalls"] = Node(
            {k: _plain_rule(v) for k, v in calls.value.items()}, calls.path, calls.line
        )
    if rules["unknown"] is not None:
        out["unknown"] = _plain_rule(rules["unknown"])
    for name, rule in rules.items():
        special = rule.get("by_server") if rule else None
        if special is None:
            continue
        given = special.value if isinstance(special.value, dict) else {"": special}
        for server, node in given.items():
            if known is None or known.get(server) is None or not isinstance(node.value, dict):
                said = f"'{text.scrub_line(server)}' is no server of this profile"
                place = f"{'' if name == 'unknown' else 'hcalls.'}{name}.by_server"
                problems.append(errors.InputError(node.path, said, line=node.line, field=place))
    return Node(out, tree.path, tree.line), problems


def _plain_rule(rule: Node) -> Node:
    if not isinstance(rule.value, dict):
        return rule
    kept = {key: node for key, node in rule.value.items() if key != "by_server"}
    return Node(kept, rule.path, rule.line)


def _cells(tree: Node, spec: ProfileSpec) -> list[tuple[str, str, Node]]:
    """Return (hcall, server, its fields) for each hcall that a server serves, and unknown."""
    cells = []
    for server in spec.servers:
        for hcall in (*spec.hcalls, UNKNOWN):
            serving = spec.hcalls[hcall].servers if hcall != UNKNOWN else None
            if serving is not None and server not in serving:
                continue
            calls = tree.get("hcalls")
            rule = tree.get("unknown") if hcall == UNKNOWN else calls and calls.get(hcall)
            assert rule is not None
            special = rule.get("by_server")
            over = special.get(server) if special else None
            node = _plain_rule(rule)
            merged = document.merge(node, over) if over is not None else node
            cells.append((hcall, server, _without_nulls(merged)))
    return cells


def _contract(spec: ProfileSpec, hcall: str, server: str, rule: HcallSpec) -> Contract:
    clobbers = spec.clobbers if rule.clobbers is None else rule.clobbers
    served = "EL1h" in spec.servers[server].origins
    return Contract(
        hcall=hcall,
        number=rule.number,
        server=server,
        origin="EL1h",
        served=served,
        reason="" if served else spec.servers[server].others,
        args=dict(rule.args),
        effect=rule.effect,
        callee=dict(rule.callee),
        result=_result(spec, rule),
        clobbers=frozenset(register for item in clobbers for register in expand(item)),
        el2_changes=frozenset(rule.el2_changes),
        needs_stack=rule.needs_stack,
        returns=rule.returns,
        sweep=rule.sweep is None,
        sweep_reason=rule.sweep or "",
        about=rule.about or "",
    )


def _result(spec: ProfileSpec, rule: HcallSpec) -> Result:
    given = rule.result
    if isinstance(given, str) and given != "error":
        return Result(given)
    if given == "error":
        given = spec.error.value if spec.error else 0
    values = (given,) if isinstance(given, int) else given
    assert isinstance(values, tuple)
    return Result("value", tuple(int(value) & _MASK for value in values))


def expand(item: str) -> tuple[str, ...]:
    """Return the registers that ``x0-x18`` (or ``x17``, or a system register) means."""
    first, dash, last = item.partition("-")
    if not dash:
        return (item,)
    return tuple(f"{first[0]}{number}" for number in range(int(first[1:]), int(last[1:]) + 1))


def _cross_checks(tree: Node, spec: ProfileSpec) -> list[errors.InputError]:
    """Return what only the whole can tell."""
    problems = []
    calls = tree.get("hcalls")
    seen: dict[int, str] = {}

    def wrong(name: str, field: str, said: str) -> None:
        rule = calls.get(name) if calls else None
        place = (rule.get(field) if rule else None) or rule or tree
        problems.append(
            errors.InputError(place.path, said, line=place.line, field=f"hcalls.{name}.{field}")
        )

    for name, rule in spec.hcalls.items():
        if rule.number is None:
            wrong(name, "number", "missing")
        elif rule.number in seen:
            wrong(name, "number", f"{rule.number} is {seen[rule.number]}'s number already")
        else:
            seen[rule.number] = name
        for server in rule.servers or ():
            if server not in spec.servers:
                wrong(name, "servers", f"'{server}' is no server of this profile")
        if rule.result == "error" and spec.error is None:
            wrong(name, "result", "'error', but the profile has no error value")
    if spec.unknown.number is not None or spec.unknown.servers is not None:
        problems.append(_unknown(tree, "the unknown hcall has no number and no servers"))
    if spec.unknown.result == "error" and spec.error is None:
        problems.append(_unknown(tree, "result 'error', but the profile has no error value"))
    return problems


def _unknown(tree: Node, said: str) -> errors.InputError:
    place = tree.get("unknown") or tree
    return errors.InputError(place.path, said, line=place.line, field="unknown")


def as_json(profile: Profile) -> Mapping[str, Any]:
    """Return what a report says of ``profile``: name, kernel, numbers, digest."""
    return {
        "name": profile.name,
        "selector": profile.selector,
        "kernel": profile.kernel,
        "numbers": dict(profile.numbers),
        "error": profile.error,
        "digest": profile.digest,
    }
