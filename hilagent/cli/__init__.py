# SPDX-License-Identifier: Apache-2.0
"""The command line: arguments only; each verb's work is in the file named for it.

Heavy rooms are imported inside the verbs, so that ``--help`` starts at once.
Exit codes: the closed table of ``hilagent.result``; 2 for the caller's mistake,
130 and 143 for a signal, 3 for a defect of ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from hilagent.cli import bisecting, hands
from hilagent.cli.bringups import doctor, onboard
from hilagent.cli.builds import build, own_options
from hilagent.cli.completion import abis, boards_named, completion
from hilagent.cli.ending import guarded
from hilagent.cli.examples import shown_by
from hilagent.cli.hands import DEFAULT_BOARD
from hilagent.cli.labs import boards
from hilagent.cli.placing import chosen_board, place_in, place_options
from hilagent.cli.reports import diff, history, report
from hilagent.cli.values import Duration, Number, given, wait_option

SUITES = ("architecture", "dispatch", "clobber", "mutants", "live", "restart", "kernel")
MODES = ("default", "none", "nvhe", "protected")
_ONCE = {"as_json", "run_dir", "wait_s"}
"""Options of a run that another of the same does without."""
_Command = Callable[..., Any]


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit code; prints errors as one message."""
    code = guarded(lambda: _hilagent.main(args=argv, prog_name="hilagent", standalone_mode=False))
    return bisecting.told(code) if bisecting.asked(argv) else code


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False,
              callback=lambda context, _, wanted: _version(context, wanted),
              help="Say the version, and the build id of the payload.")  # fmt: skip
def _hilagent() -> None:
    """Proves that an arm64 board's EL2 hcall path does what its contract says."""


def _version(context: click.Context, wanted: bool) -> None:
    if wanted:
        from hilagent.cli.version import version

        click.echo(version(), nl=False)
        context.exit()


def _board_options(command: _Command) -> _Command:
    """Options of every verb that uses a board."""
    for option in (
        click.option("-o", "--option", "options", multiple=True, metavar="KEY=VALUE",
                     help="An option of the board, e.g. cpu=max; may be given again."),
        click.option("--boards", "folders", multiple=True, metavar="DIR",
                     type=click.Path(file_okay=False, path_type=Path),
                     help="A folder of board files, looked at first."),
        click.option("--abi", default="", metavar="PROFILE", shell_complete=abis,
                     help="hcall contract: a profile's name or a YAML file (default: iss-2015; "
                          "of vmlinux: what its code speaks)."),
        click.option("--transfer", type=click.Choice(["tftp", "ymodem", "loader"]),
                     help="How payload and kernels are loaded (default: the board's first way)."),
        click.option("--run-dir", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
                     help="Run directory (default: a new one in $HILAGENT_RUNS "
                          "or ./hilagent-runs)."),
        wait_option,
    ):  # fmt: skip
        command = option(command)
    return command


_VECTORS_HELP = (
    "reference-stub, reference-kvm, mutant:NAME, file:PATH[@OFFSET] or vmlinux:PATH[,SERVER]."
)


def _suite_options(command: _Command) -> _Command:
    """Options that say what is asked of a board."""
    for option in (
        click.option("-k", "only", metavar="EXPRESSION", default="",
                     help="Only tests with such names, as pytest's -k: 'crash and payload'."),
        click.option("--chain", type=click.IntRange(1, 1000), default=1, show_default=True,
                     help="How often in a row each way of restarting is taken."),
        click.option("--mode", "modes", multiple=True, type=click.Choice(MODES),
                     help="How it uses EL2 (default: default, nvhe and none)."),
        own_options,
        click.option("--kernel", "kernels", multiple=True, metavar="NAME",
                     help="Kernel that the suites live and restart boot: patched (default), scs, "
                          "unpatched, debian, broken:NAME; or given, the one of --source, "
                          "--image or --artifacts."),
        click.option("--vectors", multiple=True, metavar="NAME",
                     help=f"Vectors under test: {_VECTORS_HELP} Default: both references."),
        click.option("--suite", "suites", multiple=True, type=click.Choice(SUITES),
                     help="What to run (default: architecture, dispatch, clobber, and kernel where "
                          "one is built); kernel is live and restart."),
    ):  # fmt: skip
        command = option(command)
    return command


@_hilagent.command("run")
@click.argument("names", nargs=-1, metavar="[BOARD]...", shell_complete=boards_named)
@click.option("--all", "every", is_flag=True, help="Every board that hilagent boards lists.")
@click.option("--tag", "tags", multiple=True, metavar="TAG",
              help="Every board with this tag, or FIELD=VALUE, e.g. soc=rk3399 or emulated=false; "
                   "given again, with all of them.")  # fmt: skip
@click.option("--jobs", type=click.IntRange(1, 1000), metavar="N",
              help="Boards at the same time (default: all real ones, and as many emulated ones "
                   "as there are CPUs).")  # fmt: skip
@_suite_options
@click.option("--tests", multiple=True, type=click.Path(exists=True, path_type=Path),
              metavar="PATH", help="Your own pytest files, run beside the suites.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print results.json on stdout.")
@click.option(bisecting.OPTION, "for_bisect", is_flag=True,
              help="Exit codes for git bisect run: 0 good, 1 accused, 125 not to be judged (the "
                   "lab's fault, a kernel that doesn't build), 128 stop.")  # fmt: skip
@click.option("--list-vectors", is_flag=True, is_eager=True, expose_value=False,
              callback=lambda context, _, wanted: _list_vectors(context, wanted),
              help="Say what --vectors can name, and what each mutant breaks.")  # fmt: skip
@place_options
@_board_options
def _run(
    names: tuple[str, ...], every: bool, tags: tuple[str, ...], jobs: int | None,
    for_bisect: bool, **chosen: Any,
) -> int:  # fmt: skip
    """Run the suites on BOARD (qemu-virt) and give a verdict.

    The verdict comes with its evidence. On several boards, side by side: each has a
    process and a folder of its own, and there is one report of all. The exit code is the
    worst. recorded:RUN as BOARD replays the run of that directory, without its board.
    """
    if every and names:
        raise click.UsageError("--all is every board: name none")
    place = place_in(chosen)
    if place is not None and (every or tags or len(names) > 1):
        raise click.UsageError("a place has one board; for several, say 'place' in their files")
    if every or tags or len(names) > 1:
        if for_bisect:
            raise click.UsageError("--bisect asks one board: name one")
        from hilagent.cli.many import Wanted, run_many

        argv = given(
            click.get_current_context(), without={"every", "tags", "jobs", "as_json", "run_dir"}
        )
        many = Wanted(names, tags, chosen["folders"], jobs or 0, argv)
        return run_many(many, chosen["run_dir"], as_json=chosen["as_json"])
    from hilagent.cli.run import Chosen, run

    board = chosen_board(names, place, DEFAULT_BOARD)
    wanted = Chosen(chosen["suites"], chosen["tests"], chosen["only"])
    as_json = chosen["as_json"]
    typed = ("hilagent", "run", board, *given(click.get_current_context(), without=_ONCE))
    request = replace(_request(chosen | {"board": board}), command=typed)
    done = run(request, wanted, chosen["run_dir"], as_json=as_json)
    return bisecting.of_run(done) if for_bisect else done.exit_code


@_hilagent.command("soak")
@click.argument("board", default="", shell_complete=boards_named)
@click.option("--for", "seconds", type=Duration(), default=600.0, metavar="TIME",
              help="Begin no round after this long, e.g. 30m or 8h (default: 10m).")  # fmt: skip
@click.option("--rounds", type=click.IntRange(1), metavar="N", help="At most so many rounds.")
@click.option("--json", "as_json", is_flag=True, help="Print results.json on stdout.")
@_suite_options
@place_options
@_board_options
def _soak(board: str, seconds: float, rounds: int | None, as_json: bool, **chosen: Any) -> int:
    """Run the suites on BOARD over and over, from power each time.

    Ends at the first accusation, with its evidence; at a lab that fails three rounds in a
    row; or when time is up. Says how often the link to the payload failed. Restarts over
    and over: --suite restart --chain 10.
    """
    from hilagent.cli.soak import Wanted, run_soak
    from hilagent.cli.values import given

    without = {"seconds", "rounds", "as_json", "run_dir"}
    argv = given(click.get_current_context(), without=without)
    place = place_in(chosen)
    board = chosen_board((board,) if board else (), place, DEFAULT_BOARD)
    wanted = Wanted(board, chosen["folders"], seconds, rounds or 0, argv, place)
    return run_soak(wanted, chosen["run_dir"], as_json=as_json)


def _list_vectors(context: click.Context, wanted: bool) -> None:
    if wanted:
        from hilagent.cli.boards import vectors

        vectors()
        context.exit()


def _register_options(command: _Command) -> _Command:
    for number in reversed(range(31)):
        command = click.option(
            f"--x{number}", type=Number(), metavar="VALUE", hidden=number > 3,
            help=f"Value of x{number}" + (" (and so on to --x30)." if number == 3 else "."),
        )(command)  # fmt: skip
    return command


@_hilagent.command("hvc")
@click.argument("board", shell_complete=boards_named)
@click.argument("imm", type=Number())
@click.option("--cpu", default=0, show_default=True, help="CPU that issues it.")
@click.option("--origin", type=click.Choice(["EL1h", "EL2h", "EL2t"]), default="EL1h",
              show_default=True, help="Where it is issued from.")  # fmt: skip
@click.option("--vectors", default="reference-stub", show_default=True, metavar="NAME",
              help=f"Vectors under test: {_VECTORS_HELP}")  # fmt: skip
@_register_options
@place_options
@_board_options
def _hvc(imm: int, cpu: int, origin: str, vectors: str, **chosen: Any) -> int:
    """Issue one hvc #IMM on BOARD, and show what it changed.

    IMM has 16 bits. The whole register file is shown, before and after.
    """
    from hilagent.cli.hvc import hvc

    given = {n: chosen[f"x{n}"] for n in range(31) if chosen[f"x{n}"] is not None}
    request = _request(chosen | {"vectors": (vectors,)})
    return hvc(request, imm, cpu=cpu, origin=origin, x=given, run_dir=chosen["run_dir"])


@_hilagent.command("audit")
@click.argument("kernel", metavar="VMLINUX")
@click.option("--abi", default="", metavar="PROFILE", shell_complete=abis,
              help="hcall contract: a profile's name or a YAML file (default: what the code "
                   "speaks).")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="For machines: everything, by address.")
def _audit(kernel: str, abi: str, as_json: bool) -> int:
    """Say what the code of VMLINUX does with hcalls.

    No board is needed. VMLINUX is a kernel with symbols, IMAGE+SYSTEM.MAP, a module, or
    what is ours (payload, reference-stub, mutant:NAME); or debian: Debian's own arm64
    kernel, whose vmlinux is fetched (1 GB).
    """
    from hilagent.cli.audit import audit

    return audit(kernel, abi, as_json=as_json)


@_hilagent.command("shell")
@click.argument("board", default=DEFAULT_BOARD, shell_complete=boards_named)
@click.option("--vectors", default="reference-stub", show_default=True, metavar="NAME",
              help=f"Vectors under test: {_VECTORS_HELP}")  # fmt: skip
@place_options
@_board_options
def _shell(vectors: str, **chosen: Any) -> int:
    """A Python prompt with the payload of BOARD at hand."""
    from hilagent.cli.shell import shell

    return shell(_request(chosen | {"vectors": (vectors,)}), chosen["run_dir"])


_hilagent.add_command(hands.power)
_hilagent.add_command(hands.console)
_hilagent.add_command(hands.trust)
_hilagent.add_command(completion)
_hilagent.add_command(build)
_hilagent.add_command(doctor)
_hilagent.add_command(onboard)
_hilagent.add_command(boards)
_hilagent.add_command(report)
_hilagent.add_command(diff)
_hilagent.add_command(history)


@_hilagent.command("setup", context_settings={
    "ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": [],
})  # fmt: skip
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
def _setup(args: tuple[str, ...]) -> int:
    """Install what a run needs, or say what is missing (--check)."""
    from hilagent import setup

    return setup.main(list(args))


shown_by(_hilagent)


def _own(chosen: dict[str, Any]) -> Any:
    from hilagent.cli.build import own

    return own(chosen) or None


def _request(chosen: dict[str, Any]) -> Any:
    from hilagent.plugin.options import pairs
    from hilagent.session.settings import Request

    return Request(
        board=chosen["board"],
        options=pairs(chosen["options"]),
        boards=tuple(chosen["folders"]),
        vectors=tuple(chosen["vectors"]),
        abi=chosen["abi"],
        transfer=chosen["transfer"] or "",
        kernels=tuple(chosen.get("kernels", ())),
        own=_own(chosen) if "source" in chosen else None,
        modes=tuple(chosen.get("modes", ())),
        chain=chosen.get("chain", 1),
        wait_s=chosen["wait_s"],
        place=place_in(chosen),
    )
