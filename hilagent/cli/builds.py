# SPDX-License-Identifier: Apache-2.0
"""The arguments of ``hilagent build``; its work is in ``hilagent.cli.build``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

_Command = Callable[..., Any]
_DIR = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_ANY = click.Path(exists=True, path_type=Path)
_OLD = click.Path(exists=True, file_okay=False, path_type=Path)


@click.group("build")
@click.pass_context
def build(context: click.Context) -> None:
    """Build what runs on a board."""
    from hilagent.session import signals

    context.with_resource(signals.as_exceptions())


def _out(what: str) -> _Command:
    return click.option("--out", type=_DIR, metavar="DIR", help=f"Copy {what} there.")


def _refresh(command: _Command) -> _Command:
    return click.option("--refresh", is_flag=True, help="Ask Debian for newer packages.")(command)


def own_options(command: _Command) -> _Command:
    """Options that name a kernel of the lab's own."""
    for option in reversed((
        click.option("--source", type=_OLD, metavar="DIR", help="Build this tree, as it is."),
        click.option("--image", type=_FILE, help="A kernel that is built already."),
        click.option("--artifacts", type=_OLD, metavar="DIR",
                     help="A folder with Image, modules and so on, as kernel CIs leave it."),
        click.option("--dtb", metavar="FILE", help="Its device tree (with --artifacts: a name)."),
        click.option("--modules", type=_ANY, help="Its modules: a folder or an archive."),
        click.option("--initrd", type=_FILE, help="Its initramfs: laid under ours."),
        click.option("--vmlinux", type=_FILE, help="Its ELF."),
        click.option("--headers", type=_OLD, metavar="DIR", help="What `make M=` needs."),
    )):  # fmt: skip
        command = option(command)
    return command


def _kernel_options(command: _Command) -> _Command:
    """Options that say which kernel."""
    config = click.option(
        "--config", "configs", multiple=True, metavar="NAME",
        help="Lay a configuration over the kernel's own: boards, or a path.",
    )  # fmt: skip
    return config(own_options(_refresh(command)))


@build.command("payload")
@_out("payload.bin and payload.elf")
def _payload(out: Path | None) -> int:
    """Build the EL2 payload, or take it from the cache."""
    from hilagent.cli.build import payload

    return payload(out)


@build.command("kernel")
@click.argument("name", default="patched")
@_kernel_options
@_out("Image, vmlinux and config")
def _kernel(name: str, out: Path | None, **chosen: Any) -> int:
    """Build the kernel NAME.

    NAME is patched (default), unpatched, scs (with the shadow call stack), broken:NAME, one
    that breaks a rule on purpose, or debian, which is only fetched.
    """
    from hilagent.cli.build import kernel

    return kernel(name, chosen, out)


@build.command("module")
@click.argument("name", default="patched")
@_kernel_options
@_out("hilhvc.ko")
def _module(name: str, out: Path | None, **chosen: Any) -> int:
    """Build the probe module for the kernel NAME."""
    from hilagent.cli.build import module

    return module(name, chosen, out)


@build.command("rootfs")
@click.argument("name", default="")
@_kernel_options
@_out("rootfs.cpio.gz")
def _rootfs(name: str, out: Path | None, **chosen: Any) -> int:
    """Build the root file system, for the kernel NAME if one is given.

    With that kernel's modules, and the probe module.
    """
    from hilagent.cli.build import rootfs

    return rootfs(name, chosen, out)
