# SPDX-License-Identifier: Apache-2.0
"""Builds what a wheel carries: ``python -m hilagent.build.pack FOLDER``, from a checkout.

That is all that a run without a kernel compiles: the payload, the reference vectors of
each profile that has some, every mutant, and what is uploaded to a running payload.
``--nothing`` behind it makes the manifest of a wheel that is to have none of them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from hilagent import abi, data
from hilagent.errors import HilagentError, UsageError

from . import compile, payload, prebuilt, sources, vectors


def pack(folder: Path) -> None:
    """Fill ``folder`` with what is built here and now, or was before, from the same sources.

    Raises UsageError if there is no compiler, LabError if it fails.
    """
    if data.checkout() is None:
        raise UsageError("only a checkout or an unpacked sdist can be packaged")
    compile.toolchain()
    prebuilt.write(folder, results())


def results() -> Iterator[Path]:
    """Yield the folder of each result, built when it is asked for."""
    yield payload.build_payload().elf.parent
    for source in sources.files(sources.firmware_dir() / "uploaded", ".S"):
        yield compile.compile_blob(source).elf.parent
    for profile in map(abi.load, abi.profiles()):
        if profile.selector == "immediate":
            for name in vectors.REFERENCES:
                yield vectors.build(name, profile).elf.parent
    for mutant in vectors.mutants():
        yield vectors.build(f"mutant:{mutant.name}").elf.parent


def main(argv: list[str]) -> int:
    """The command; returns its exit code."""
    folder, *rest = argv
    try:
        if rest == ["--nothing"]:
            prebuilt.write(Path(folder), [])
        else:
            pack(Path(folder))
    except HilagentError as error:
        print(error.message, *([error.hint] if error.hint else []), sep="\n  ", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
