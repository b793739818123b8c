# SPDX-License-Identifier: Apache-2.0
"""The contracts, as the proposal, the kernel's header and its documents have them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hilagent import abi, errors
from hilagent.abi import tables

# The lines of include/asm/virt.h that matter, from kernel 6.12.
KERNEL_6_12 = """
/*
 * HVC_SET_VECTORS - Set the value of the vbar_el2 register.
 * #define HVC_SET_VECTORS 99
 */
#define HVC_SET_VECTORS 0
#define HVC_SOFT_RESTART 1
#define HVC_RESET_VECTORS 2
#define HVC_FINALISE_EL2\t3

/* Max number of HYP stub hypercalls */
#define HVC_STUB_HCALL_NR 4

/* Error returned when an invalid stub number is passed into x0 */
#define HVC_STUB_ERR\t0xbadca11
#define BOOT_CPU_MODE_EL1\t(0xe11)
"""


def test_the_proposal_of_2015_is_as_its_thread_says() -> None:
    iss = abi.load("iss-2015")
    assert iss.selector == "immediate"
    assert dict(iss.numbers) == {
        "HVC_CALL_HYP": 0,
        "HVC_GET_VECTORS": 1,
        "HVC_SET_VECTORS": 2,
        "HVC_CALL_FUNC": 3,
    }
    assert iss.error is None
    for server in ("hyp-stub", "kvm"):
        for contract in iss.hcalls(server):
            assert contract.clobbers == {"x17", "x18"}
            assert contract.returns
            assert contract.served
        assert iss.catch_mask(server) == 1
    assert iss.stack_imms("hyp-stub") == ()
    assert iss.stack_imms("kvm") == (0,)


def test_each_hcall_of_2015_has_its_effect() -> None:
    iss = abi.load("iss-2015")
    get, put = iss.contract(1, "hyp-stub"), iss.contract(2, "hyp-stub")
    assert (get.hcall, get.effect, str(get.result)) == (
        "HVC_GET_VECTORS",
        "get-vectors",
        "VBAR_EL2",
    )
    assert (put.effect, put.result.kind, dict(put.args)) == (
        "set-vectors",
        "unchanged",
        {"x0": "vectors"},
    )
    call = iss.contract(3, "kvm")
    assert (call.effect, call.needs_stack, call.landing_el) == ("call", False, 2)
    assert dict(call.after) == {"x0": "x1", "x1": "x2", "x2": "x3"}
    assert call.may_change("x1")
    assert not call.gives_away("x1")
    assert call.gives_away("x18")
    assert not call.may_change("x3")


def test_an_hcall_that_a_server_does_not_serve_is_an_unknown_one() -> None:
    iss = abi.load("iss-2015")
    assert iss.contract(0, "kvm").hcall == "HVC_CALL_HYP"
    stub = iss.contract(0, "hyp-stub")
    assert (stub.hcall, stub.number, stub.result.kind) == ("unknown", None, "unchanged")
    assert iss.contract(0xFFFF, "kvm").hcall == "unknown"
    assert [c.hcall for c in iss.hcalls("hyp-stub")][-1] == "unknown"
    assert "HVC_CALL_HYP" not in {c.hcall for c in iss.hcalls("hyp-stub")}


def test_an_origin_that_is_not_served_says_what_would_happen() -> None:
    contract = abi.load("iss-2015").contract(1, "hyp-stub", "EL2h")
    assert not contract.served
    assert "loop" in contract.reason
    assert abi.load("iss-6.12").contract(1, "hyp-stub", "EL2h").served
    assert not abi.load("iss-6.12").contract(1, "hyp-stub", "EL2t").served
    assert abi.load("iss-6.12").serves_el2("hyp-stub")
    assert not abi.load("iss-6.12").serves_el2("kvm")


def test_the_port_to_6_12_adds_what_that_kernel_needs() -> None:
    iss = abi.load("iss-6.12")
    assert iss.error == 0xBADCA11
    assert iss.contract(7, "kvm").result.values == (0xBADCA11,)
    restart = iss.contract(4, "hyp-stub")
    assert (restart.effect, restart.returns, restart.result.kind) == ("restart", False, "none")
    assert dict(restart.callee) == {"x0": "x1", "x1": "x2", "x2": "x3"}
    assert dict(restart.after) == {}
    smccc = iss.contract(0, "kvm")
    assert not {f"x{n}" for n in range(4, 31)} & smccc.clobbers
    assert smccc.result.values == ((1 << 64) - 1,)
    assert iss.contract(0, "hyp-stub").result.values == (0xBADCA11,)
    assert iss.skip_imms("kvm") == (5,)
    assert iss.skip_imms("hyp-stub") == (5, 6)
    assert {c.hcall for c in iss.hcalls("trans-pgd")} == {
        "HVC_SET_VECTORS",
        "HVC_SOFT_RESTART",
        "unknown",
    }


def test_the_variant_for_the_shadow_call_stack_leaves_x18_alone_everywhere() -> None:
    scs = abi.load("iss-6.12-scs")
    assert not any("x18" in contract.clobbers for contract in scs.contracts.values())
    assert scs.contract(1, "kvm").clobbers == {"x16", "x17"}
    assert scs.numbers == abi.load("iss-6.12").numbers


def test_mainlines_numbers_are_those_of_the_kernels_header() -> None:
    assert abi.check(abi.load("x0-mainline@6.12"), KERNEL_6_12) == ()
    wrong = abi.check(abi.load("x0-mainline@5.10"), KERNEL_6_12)
    assert [(m.name, m.expected, m.found) for m in wrong] == [
        ("HVC_STUB_HCALL_NR", 3, 4),
        ("HVC_FINALISE_EL2", None, 3),
    ]
    missing = abi.check(abi.load("x0-mainline"), "")
    assert {m.found for m in missing} == {None}


@pytest.mark.parametrize(
    ("kernel", "third", "el2h"),
    [
        ("4.12", "", False),
        ("5.10", "", False),
        ("5.12", "HVC_VHE_RESTART", False),
        ("5.15.149", "HVC_VHE_RESTART", True),
        ("6.1.0-18-arm64", "HVC_FINALISE_EL2", True),
        ("", "HVC_FINALISE_EL2", True),
    ],
)
def test_mainlines_numbers_are_those_of_the_version(kernel: str, third: str, el2h: bool) -> None:
    profile = abi.load("x0-mainline", kernel=kernel)
    assert {number: name for name, number in profile.numbers.items()}.get(3, "") == third
    assert profile.serves_el2("hyp-stub") is el2h


def test_mainlines_hcalls_do_as_its_document_says() -> None:
    x0 = abi.load("x0-mainline")
    assert x0.selector == "x0"
    put = x0.contract(0, "hyp-stub")
    assert (dict(put.args), put.result.values) == ({"x1": "vectors"}, (0,))
    assert x0.contract(0, "kvm").result.values == (0xBADCA11,)
    assert x0.contract(0, "kvm").el2_changes == frozenset()
    restart = x0.contract(1, "trans-pgd")
    assert dict(restart.callee) == {"x0": "x2", "x1": "x3", "x2": "x4"}
    assert x0.catch_mask("hyp-stub") == 2
    assert x0.contract(9, "hyp-stub").result.values == (0xBADCA11,)
    assert x0.contract(9, "kvm").result.values == ((1 << 64) - 1,)
    assert x0.contract(2, "hyp-stub").may_change("x5")
    assert not x0.contract(9, "kvm").may_change("x5")


def test_a_kernel_that_the_profile_does_not_describe_is_refused() -> None:
    for kernel in ("4.4", "banana", "6"):
        with pytest.raises(errors.UsageError, match=r"from 4\.12 on"):
            abi.load("x0-mainline", kernel=kernel)
    with pytest.raises(errors.UsageError, match="did you mean iss-2015") as caught:
        abi.load("iss-2016")
    assert "x0-mainline" in caught.value.hint


@pytest.mark.parametrize("name", abi.profiles())
def test_every_profile_answers_for_every_number_server_and_origin(name: str) -> None:
    profile = abi.load(name)
    for server in profile.servers:
        for number in (*range(12), 0xFFFF):
            for origin in abi.ORIGINS:
                contract = profile.contract(number, server, origin)
                assert contract.server == server
                assert contract.origin == origin
                assert contract.served or contract.reason
                assert contract.about
        assert profile.catch_mask(server) in range(1, 16)
    with pytest.raises(KeyError):
        profile.contract(0, "nobody")
    with pytest.raises(KeyError):
        profile.contract(0, next(iter(profile.servers)), "EL3h")


def test_the_header_is_plain_numbers_and_agrees_with_itself() -> None:
    for name in abi.profiles():
        profile = abi.load(name)
        header = abi.c_header(profile)
        assert abi.check(profile, header) == ()
        for line in header.splitlines():
            assert line.startswith(("#", "/*"))
    assert "#define HVC_CALL_FUNC 0x3" in abi.c_header(abi.load("iss-2015"))


def test_the_same_contract_has_the_same_digest_and_another_has_not() -> None:
    digests = {abi.load(name).digest for name in abi.profiles()}
    assert len(digests) == len(abi.profiles())
    assert abi.load("iss-2015").digest == abi.load("iss-2015").digest
    assert abi.as_json(abi.load("iss-2015"))["numbers"]["HVC_CALL_FUNC"] == 3


def test_the_table_has_a_row_an_hcall_and_joins_registers_that_agree() -> None:
    shown = abi.table(abi.load("iss-2015"), "kvm")
    assert shown.columns[:6] == ("hcall", "x0", "x1", "x2", "x3-x16", "x17-x18")
    assert all(len(row) == len(shown.columns) for row in shown.rows)
    rows = {row[0]: row for row in shown.rows}
    assert rows["HVC_CALL_FUNC (3)"][1:4] == ("function, = x1", "= x2", "= x3")
    assert rows["HVC_CALL_HYP (0)"][-1] == "needs one"
    assert rows["unknown"][5] == "may change"
    restart = abi.table(abi.load("iss-6.12"), "hyp-stub").rows[4]
    assert restart[1] == "entry, gets x1"
    away = abi.table(abi.load("iss-2015"), "kvm", "EL2t")
    assert {cell for row in away.rows for cell in row[1:-1]} == {"not served"}
    assert tables.stack(abi.load("iss-2015").contract(1, "kvm")) == "none"


LAB = """
schema: 1
profile: lab
about: a vendor's
selector: immediate
clobbers: [x9-x11, v0, NZCV]
servers:
  vendor: {about: theirs, origins: [EL1h], others: nothing}
unknown: {result: unchanged, about: refused}
hcalls:
  VENDOR_SET: {number: 7, servers: [vendor], args: {x2: vectors}, effect: set-vectors, about: set}
"""


def test_a_labs_own_file_is_a_profile(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text(LAB)
    lab = abi.load(str(path))
    assert lab.contract(7, "vendor").clobbers == {"x9", "x10", "x11", "v0", "NZCV"}
    assert lab.catch_mask("vendor") == 4
    path.write_text("profile: lab\nextends: iss-2015\nhcalls: {HVC_CALL_FUNC: {number: 9}}\n")
    assert abi.load(str(path)).contract(9, "kvm").hcall == "HVC_CALL_FUNC"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("number: 7", "number: 70000", "11: hcalls.VENDOR_SET.number: expected 0 to 65535"),
        ("number: 7, ", "", "11: hcalls.VENDOR_SET.number: missing"),
        ("servers: [vendor]", "servers: [other]", "'other' is no server of this profile"),
        ("effect: set-vectors", "effect: sets", "effect: expected"),
        ("args: {x2", "args: {x4", "a catch table can stand in x0 to x3 only"),
        ("args: {x2", "args: {w2", "expected a register x0 to x30"),
        ("[x9-x11", "[x9-w11", "clobbers.0: expected x17, x0-x18"),
        ("effect: set-vectors", "effect: call", "'callee' goes with"),
        ("effect: set-vectors", "effect: restart", "returns: false"),
        ("effect: set-vectors", "result: none", "'returns: false'"),
        ("result: unchanged", "result: error", "no error value"),
        ("result: unchanged", "number: 3", "the unknown hcall has no number"),
        ("effect: set-vectors", "result: error", "no error value"),
        ("effect: set-vectors", "by_server: {x: {}}", "'x' is no server"),
        ("effect: set-vectors", "by_server: 3", "is no server"),
        ("effect: set-vectors", "by_server: {vendor: {nuber: 3}}", "nuber: unknown field"),
        ("selector: immediate", "selector: x9", "selector: expected"),
        ("schema: 1", "schema: 1\nextends: 1", "no hcall profile '1'"),
        ("schema: 1", "schema: 1\nversions: 3", "versions: expected a list"),
        ("schema: 1", "schema: 1\nversions: [{since: 6.12, changes: {}}]", "a valid string"),
        ("profile: lab", "profil: lab", "did you mean 'profile'?"),
        ("VENDOR_SET", "vendor_set", "expected a C name in capitals"),
    ],
)
def test_what_is_wrong_in_a_profile_is_named_with_its_line(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    path = tmp_path / "lab.yaml"
    assert old in LAB
    path.write_text(LAB.replace(old, new, 1))
    with pytest.raises(errors.InputError) as caught:
        abi.load(str(path))
    assert said in caught.value.message
    assert caught.value.message.startswith(f"{path}:")


def test_two_hcalls_with_one_number_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text(LAB + "  VENDOR_GET: {number: 7, servers: [vendor]}\n")
    with pytest.raises(errors.InputError, match=r":12: .*VENDOR_GET\.number: 7 is VENDOR_SET's"):
        abi.load(str(path))


def _error(path: Path) -> str:
    """Return what is wrong with a file; anything but a UsageError is a traceback."""
    try:
        abi.load(str(path))
    except errors.UsageError as error:
        return error.message
    return ""


JUNK = st.recursive(
    st.none() | st.integers() | st.text(max_size=6) | st.sampled_from(["kvm", "x0", "6.12"]),
    lambda c: st.lists(c, max_size=2) | st.dictionaries(st.text(max_size=6), c, max_size=2),
    max_leaves=6,
)
PARTS = [
    "schema",
    "profile",
    "extends",
    "servers",
    "unknown",
    "hcalls",
    "versions",
    "error",
    "bound",
]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(change=st.dictionaries(st.sampled_from(PARTS), JUNK, max_size=2))
def test_no_profile_ever_ends_in_a_traceback(tmp_path: Path, change: dict[str, object]) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(LAB), **change}))
    said = _error(path)
    assert not said or str(path) in said


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    path_=st.sampled_from(["args", "callee", "result", "servers", "by_server", "sweep"]), junk=JUNK
)
def test_no_hcall_ever_ends_in_a_traceback(tmp_path: Path, path_: str, junk: object) -> None:
    tree = yaml.safe_load(LAB)
    tree["hcalls"]["VENDOR_SET"][path_] = junk
    tree["unknown"][path_] = junk
    path = tmp_path / "lab.yaml"
    path.write_text(yaml.safe_dump(tree))
    said = _error(path)
    assert not said or str(path) in said
