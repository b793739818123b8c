# SPDX-License-Identifier: Apache-2.0
"""A run whose board said 200 MB: its page is made in seconds, and small enough to open."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from hilagent.result import Outcome, Verdict
from tests.report import made
from tests.report.test_page import launched

pytestmark = pytest.mark.bench

SIZE = 200_000_000
MOST_S, MOST_OPEN_S, MOST_BYTES, MOST_PAGE = 20, 3, 500_000_000, 5_000_000
LINE = b"[%12.6f] systemd[1]: Started something that is logged over and over.\r\n"
CODE = """
import json, sys, time
from pathlib import Path
from hilagent import report
began = time.monotonic()
report.write(Path(sys.argv[1]))
(line,) = (x for x in open("/proc/self/status") if x.startswith("VmHWM:"))
peak = int(line.split()[1]) * 1024  # of this program alone; ru_maxrss counts the parent's, too
print(json.dumps([time.monotonic() - began, peak]))
"""


def long_run(folder: Path) -> None:
    block = b"".join(LINE % n for n in range(1000))
    count = SIZE // len(block)
    said = [(0.5 + 8 * n / count, block) for n in range(count)]
    said[count // 2] = (said[count // 2][0], made.PANIC + block)
    made.run(folder, *(Outcome(f"a[{n}]", Verdict.PASS) for n in range(5)),
             Outcome("a[x]", Verdict.CRASH, "it died"), said=said)  # fmt: skip


def _opened_s(page: Path) -> float:
    with sync_playwright() as driver:
        browser = launched(driver)
        began = time.monotonic()
        shown = browser.new_page()
        shown.goto(page.as_uri())
        shown.locator("footer").scroll_into_view_if_needed()
        took_s = time.monotonic() - began
        browser.close()
        return took_s


def test_200_mb_of_console(tmp_path: Path) -> None:
    long_run(tmp_path / "run")
    raw = tmp_path / "run/console.raw"
    began = time.monotonic()
    with raw.open("rb") as file:
        while file.read(1 << 20):
            pass
    read_s = time.monotonic() - began
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path / "run")], capture_output=True, check=True
    )
    took_s, peak = json.loads(done.stdout)
    page = tmp_path / "run/report.html"
    print(
        f"report of {raw.stat().st_size / 1e6:.0f} MB of console: {took_s:.1f} s, "
        f"{took_s / read_s:.0f} x reading it; {peak / 1e6:.0f} MB; "
        f"page {page.stat().st_size / 1e6:.1f} MB, opened in {_opened_s(page):.1f} s"
    )
    assert took_s < MOST_S
    assert _opened_s(page) < MOST_OPEN_S
    assert peak < MOST_BYTES
    assert page.stat().st_size < MOST_PAGE
    assert "Kernel panic" in page.read_text()
