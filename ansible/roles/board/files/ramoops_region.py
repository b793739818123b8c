# SPDX-License-Identifier: Apache-2.0
"""Says on a board whether ramoops may write to a region of its memory.

    ramoops_region.py ADDRESS SIZE [ROOT]

Out: exit 0 and "module" (its driver needs to be told the region) or "tree" (the device tree
tells it); else exit 1 and a sentence that says why not. Only the standard library, and any
Python 3: the board's own runs it.

A line "reserved" of /proc/iomem isn't enough: the kernel's own allocations have it, too. So the
device tree has to reserve the region, for nobody, and the running kernel has to have done so.
"""

import re
import sys
from pathlib import Path

_TREE = "sys/firmware/devicetree/base"
_SMALLEST = 0x10000
_PAGE = 0x1000


def why_not(address: int, size: int, root: Path) -> str:
    """Return "module", "tree", or a sentence with a space in it that says what is wrong."""
    if size < _SMALLEST or size & (size - 1) or address % _PAGE:
        return f"{_span(address, size)}: the size is a power of two from 64 KiB, at a whole page"
    nodes = root / _TREE / "reserved-memory"
    if not nodes.is_dir():
        return (
            "this board's device tree reserves no memory (/reserved-memory is missing; a board with"
            " ACPI has no tree): give the label of a reserve_mem=SIZE:ALIGN:LABEL on the command"
            " line of a Linux 6.12 or newer, or no board_ramoops"
        )
    node = next((n for n in sorted(nodes.iterdir()) if _covers(n, nodes, address, size)), None)
    if node is None:
        found = ", ".join(_shown(nodes)) or "no region with an address"
        return (
            f"{_span(address, size)} is RAM that may be in use: /reserved-memory of the device tree"
            f" doesn't cover it (it has {found})"
        )
    owner = _owner(node, root / _TREE)
    if owner:
        return f"{_span(address, size)} is reserved for somebody else: {node.name} {owner}"
    if not _honoured((root / "proc/iomem").read_text(), address, size):
        return (
            f"{_span(address, size)} is reserved by the device tree ({node.name}), and the running"
            " kernel doesn't keep it free: /proc/iomem shows it as System RAM, or hides addresses"
        )
    return "tree" if b"ramoops" in _words(node / "compatible") else "module"


def _span(address: int, size: int) -> str:
    return f"{address:#x} to {address + size - 1:#x}"


def _words(path: Path) -> "list[bytes]":
    return path.read_bytes().split(b"\0")[:-1] if path.is_file() else []


def _cells(path: Path, default: int) -> int:
    return int.from_bytes(path.read_bytes(), "big") if path.is_file() else default


def _regions(node: Path, parent: Path) -> "list[tuple[int, int]]":
    """The node's reg, as addresses and sizes."""
    wide = _cells(parent / "#address-cells", 2) * 4
    long = _cells(parent / "#size-cells", 1) * 4
    reg = (node / "reg").read_bytes() if (node / "reg").is_file() else b""
    pairs = (reg[at : at + wide + long] for at in range(0, len(reg), wide + long))
    return [(int.from_bytes(p[:wide], "big"), int.from_bytes(p[wide:], "big")) for p in pairs]


def _covers(node: Path, parent: Path, address: int, size: int) -> bool:
    return node.is_dir() and any(
        start <= address and address + size <= start + long
        for start, long in _regions(node, parent)
    )


def _shown(nodes: Path) -> "list[str]":
    return [_span(*region) for n in sorted(nodes.iterdir()) if n.is_dir()
            for region in _regions(n, nodes)]  # fmt: skip


def _owner(node: Path, tree: Path) -> str:
    """Whose the region is; "" if nobody's or ramoops' own."""
    compatible = _words(node / "compatible")
    if compatible and b"ramoops" not in compatible:
        return f"is compatible with {compatible[0].decode('ascii', 'replace')}"
    if (node / "reusable").exists():
        return "may be used by the kernel (reusable)"
    if _words(node / "status") not in ([], [b"okay"], [b"ok"]):
        return "is disabled"
    handle = (node / "phandle").read_bytes() if (node / "phandle").is_file() else None
    if handle is not None:
        for user in sorted(tree.rglob("memory-region")):
            cells = user.read_bytes()
            if handle in (cells[at : at + 4] for at in range(0, len(cells), 4)):
                return f"is the memory-region of {user.parent.name}"
    return ""


def _honoured(iomem: str, address: int, size: int) -> bool:
    """Whether the region is outside of System RAM or in one that is reserved, at any depth."""
    ram = False
    for start, end, name in re.findall(r"^ *([0-9a-f]+)-([0-9a-f]+) : (.*)$", iomem, re.MULTILINE):
        first, last = int(start, 16), int(end, 16)
        if name == "reserved" and first <= address and address + size - 1 <= last:
            return True
        ram = ram or (name == "System RAM" and first <= address + size - 1 and address <= last)
    return not ram and re.search(r"^0*[1-9a-f][0-9a-f]*-", iomem, re.MULTILINE) is not None


def main(argv: "list[str]") -> int:
    """Print the answer; return the exit status."""
    try:
        address, size = (int(word, 0) for word in argv[1:3])
    except ValueError:
        print("address and size are numbers such as 0x100000")
        return 1
    said = why_not(address, size, Path(argv[3] if len(argv) > 3 else "/"))
    print(said)
    return 0 if said in ("module", "tree") else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv))
