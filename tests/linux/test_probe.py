# SPDX-License-Identifier: Apache-2.0
"""The probe against a module of the imagination."""

from __future__ import annotations

import pytest

from hilagent import errors
from hilagent.abi import load
from hilagent.clock import Deadline
from hilagent.link.wire import Seen
from hilagent.linux.probe import Probe
from hilagent.linux.request import UNKNOWN_X0, Request
from hilagent.linux.wire import Op
from tests.linux import fake_module as fake
from tests.linux.fake_module import Done, FakeModule

ISS, X0 = load("iss-6.12"), load("x0-mainline", kernel="6.12")


def _probe(answer: fake.Answer, op: Op = Op.HVC) -> tuple[Probe, FakeModule]:
    module = FakeModule({op: answer})
    return Probe(module), module


def test_it_identifies_without_an_hvc() -> None:
    probe, module = _probe(fake.identity(), Op.IDENTIFY)
    assert probe.identify().release == fake.RELEASE.decode()
    assert [each["op"] for each in module.asked] == [Op.IDENTIFY]


def test_a_batch_is_one_command_and_keeps_its_order() -> None:
    probe, module = _probe(fake.exchange(1))
    found = probe.hvcs([Request(cpu=cpu, imm=cpu + 5) for cpu in range(4)])
    assert [each.cpu for each in found] == [0, 1, 2, 3]
    assert [each["first"] for each in module.asked] == [5, 6, 7, 8]


def test_the_answer_to_an_older_batch_is_not_taken() -> None:
    probe, module = _probe(fake.exchange(1))
    said: list[bytes] = []

    def stale(raw: bytes) -> bytes:
        said.append(raw)
        return said[0]

    module.bend = stale
    probe.hvc(Request())
    with pytest.raises(errors.LinkError, match="answered request 1, not 2"):
        probe.hvc(Request())


def test_a_refusal_has_the_modules_reason() -> None:
    probe, _ = _probe(fake.refused(-95, "the kernel runs at EL2 itself (VHE)"))
    with pytest.raises(errors.Unsupported, match=r"hvc #0x7 on CPU 1: the kernel runs at EL2"):
        probe.hvc(Request(cpu=1, imm=7))
    probe, _ = _probe(fake.refused(-110, "hvc number 3 of 9 did not come back"), Op.SWEEP)
    with pytest.raises(errors.TargetHang, match="sweep on CPU 2: hvc number 3"):
        probe.sweep(Request(cpu=2, count=9))


def test_a_batch_that_is_refused_tells_how_far_it_came() -> None:
    lost = fake.refused(-110, "it did not come back")
    probe, _ = _probe(lambda fields: (lost if fields["cpu"] == 2 else fake.exchange(1))(fields))
    done, refusal = probe.some([Request(cpu=cpu, imm=7) for cpu in range(4)])
    assert [each.cpu for each in done] == [0, 1]
    assert isinstance(refusal, errors.TargetHang)
    assert refusal.message == "hvc #0x7 on CPU 2: it did not come back"
    assert probe.some([Request(cpu=1)])[1] is None


def test_an_answer_cut_at_any_byte_is_a_lost_link() -> None:
    probe, module = _probe(fake.exchange(1))
    sizes: list[int] = []

    def whole(raw: bytes) -> bytes:
        sizes.append(len(raw))
        return raw

    module.bend = whole
    probe.hvc(Request())
    for size in range(0, sizes[0], 7):
        module.bend = lambda raw, size=size: raw[:size]  # type: ignore[misc]
        with pytest.raises(errors.LinkError, match="cut short"):
            probe.hvc(Request())


def test_a_module_that_is_not_there_is_a_precondition() -> None:
    module = FakeModule(ended=Done(status=66))
    with pytest.raises(errors.PreconditionError, match="not loaded") as found:
        Probe(module).identify()
    assert found.value.hint == "insmod hilhvc.ko"


def test_a_command_that_fails_says_what_it_said() -> None:
    module = FakeModule(ended=Done(status=1, err=b"cat: write error: No space left\x1b[0m\n"))
    with pytest.raises(errors.LinkError, match="exit 1: cat: write error") as found:
        Probe(module).identify()
    assert found.value.message.isprintable()


@pytest.mark.parametrize(
    ("x0", "server"),
    [(fake.NOT_SUPPORTED, "kvm"), (fake.HCALL_ERROR, "hyp-stub"), (None, "hyp-stub")],
)
def test_the_server_is_told_by_an_smccc_id_that_nobody_has(x0: int | None, server: str) -> None:
    for profile in (ISS, X0):
        probe, module = _probe(fake.exchange(x0))
        assert probe.server(profile, 1) == server
        [asked] = module.asked
        assert (asked["cpu"], asked["first"], asked["catch_mask"]) == (1, 0, 0)


def test_where_hvc_is_undefined_there_is_no_el2() -> None:
    probe, _ = _probe(fake.exchange(seen=Seen.EL1_FAULT, esr=0x02000000))
    with pytest.raises(errors.Unsupported, match="there is no EL2"):
        probe.server(X0, 0)


@pytest.mark.parametrize(
    ("x0", "name"),
    [
        (0x40638800, "iss-6.12"),
        (fake.HCALL_ERROR, "x0-mainline"),
        (fake.NOT_SUPPORTED, "x0-mainline"),
    ],
)
def test_the_abi_is_told_by_asking_for_the_vectors(x0: int, name: str) -> None:
    probe, module = _probe(fake.exchange(x0))
    assert probe.abi([X0, ISS]).name == name
    assert module.asked[0]["first"] == ISS.numbers["HVC_GET_VECTORS"]


def test_a_kernel_of_no_abi_that_was_offered_is_unsupported() -> None:
    probe, _ = _probe(fake.exchange(fake.HCALL_ERROR))
    with pytest.raises(errors.Unsupported, match="none of the ABIs"):
        probe.abi([ISS])


@pytest.mark.parametrize(
    ("said", "address"),
    [
        (b"ffff80008043b000 T __hyp_stub_vectors\n", 0xFFFF80008043B000),
        (b"", 0),
        (b"nonsense T __hyp_stub_vectors\n", 0),
    ],
)
def test_where_the_stub_is_comes_from_the_kernels_symbols(said: bytes, address: int) -> None:
    probe, module = _probe(fake.exchange(1))
    module.symbols = said
    assert probe.find_stub() == address
    probe.hvc(Request())
    probe.hvc(Request(stub_vectors=9))
    assert [each["stub_vectors"] for each in module.asked] == [address, 9]


def test_a_sweep_over_x0_is_one_of_values() -> None:
    probe, module = _probe(fake.sweep((4, 0)), Op.SWEEP)
    found = probe.sweep(Request(count=4, swept="x0", x0_first=UNKNOWN_X0), Deadline.after(9))
    assert found.swept.swept == "x0"
    assert found.swept.runs == ((0, 4, 0),)
    assert module.asked[0]["x0_first"] == UNKNOWN_X0
