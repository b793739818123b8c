# SPDX-License-Identifier: Apache-2.0
"""The page in a real browser: whole, by itself, by keyboard, and readable by everyone."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Playwright, sync_playwright

from hilagent import report
from hilagent.report import many
from hilagent.result import Outcome, Verdict
from tests.report import made
from tests.report.test_many import child, parent

Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")


def launched(driver: Playwright) -> Browser:
    """Return Debian's Chromium; root has no sandbox."""
    args = ["--no-sandbox"] if os.geteuid() == 0 else []
    path = shutil.which("chromium-headless-shell")
    return driver.chromium.launch(executable_path=path, args=args)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as driver:
        found = launched(driver)
        yield found
        found.close()


class Shown:
    """A page, and everything that it did which it must not."""

    def __init__(self, browser: Browser, path: Path, scheme: Scheme = "light") -> None:
        self.path = path
        self.wrong: list[str] = []
        self.page: Page = browser.new_page(color_scheme=scheme)
        self.page.on("console", lambda message: self.wrong.append(message.text))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", lambda request: self._asked(request.url))
        self.page.goto(path.as_uri())

    def _asked(self, url: str) -> None:
        if url.partition("#")[0] != self.path.as_uri() and not url.startswith("data:"):
            self.wrong.append(f"asked for {url}")

    def accessible(self) -> list[str]:
        """Return what axe-core finds wrong, with everything opened."""
        self.page.evaluate("for (const d of document.querySelectorAll('details')) d.open = true")
        found = Axe().run(self.page).response["violations"]
        return [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in found]


def written(folder: Path, *outcomes: Outcome, **how: Any) -> Path:
    made.run(folder, *outcomes, more=made.observed, **how)
    report.write(folder)
    return folder / "report.html"


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run in which everything happened."""
    folder = tmp_path_factory.mktemp("run") / "classes"
    said = ((0.5, made.BANNER), (1.5, made.packet()), (3.2, made.PANIC), (60.0, b"later\r\n"))
    return written(folder, *made.all_classes(), said=said)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_it_asks_for_nothing_breaks_nothing_and_everyone_can_read_it(
    browser: Browser, classes: Path, scheme: Scheme
) -> None:
    shown = Shown(browser, classes, scheme)
    assert shown.accessible() == []
    assert shown.wrong == []


def test_a_script_that_got_in_would_not_run(browser: Browser, classes: Path) -> None:
    shown = Shown(browser, classes)
    shown.page.evaluate("""() => {
        const bad = document.createElement('script');
        bad.textContent = 'document.title = "owned"';
        document.body.append(bad);
        const image = document.createElement('img');
        image.src = 'http://127.0.0.1:9/x.png';
        document.body.append(image);
    }""")
    assert shown.page.title() != "owned"
    assert sum("Content Security Policy" in each for each in shown.wrong) == 2


def test_every_verdict_is_on_the_page(browser: Browser, classes: Path) -> None:
    page = Shown(browser, classes).page
    tests = json.loads((classes.parent / "results.json").read_text())["tests"]
    rows = {
        row.locator("th").inner_text(): row.locator("td").first.inner_text()
        for row in page.locator("#tests tbody tr").all()
    }
    assert len(tests) == len(rows) == len(Verdict) + 1
    for test in tests:
        assert test["verdict"].upper() in rows[test["id"]].split()


def test_each_link_of_a_result_leads_to_its_line(browser: Browser, classes: Path) -> None:
    page = Shown(browser, classes).page
    links = page.locator("#tests tbody a").all()
    assert len(links) == len(Verdict) + 1
    for link in links:
        href = link.get_attribute("href")
        assert href
        assert page.locator(href).count() == 1
    last = page.locator("#tests tbody tr", has_text="clobber[hyp-stub-x19]").locator("a")
    line = page.locator(last.get_attribute("href") or "")
    assert "Kernel panic" in (line.text_content() or "")  # all there was when that test ended
    assert "crash" in (line.get_attribute("class") or "")
    assert line.locator("time").text_content() == "3.200"


def test_every_link_within_the_page_has_an_end(browser: Browser, classes: Path) -> None:
    page = Shown(browser, classes).page
    lost = page.evaluate("""() => [...document.querySelectorAll('a[href^="#"]')]
        .map(a => a.getAttribute('href').slice(1)).filter(id => !document.getElementById(id))""")
    assert lost == []
    for name in page.locator(".files a").all():
        assert (classes.parent / (name.get_attribute("href") or "")).exists()


def test_the_keyboard_reaches_every_control(browser: Browser, classes: Path) -> None:
    page = Shown(browser, classes).page
    wanted = page.evaluate("""() => {
        const all = [...document.querySelectorAll('a[href], button, input, summary, [tabindex]')];
        const can = all.filter(e => e.checkVisibility());
        can.forEach((e, n) => e.dataset.number = n);
        return can.length;
    }""")
    reached = set()
    for _ in range(wanted + 5):
        page.keyboard.press("Tab")
        number = page.evaluate("document.activeElement.dataset.number")
        if number is None:
            break
        reached.add(number)
    assert wanted > 50
    assert len(reached) == wanted


def test_on_paper_everything_is_open_and_nothing_scrolls(browser: Browser, classes: Path) -> None:
    page = Shown(browser, classes).page
    assert page.locator("details:not([open])").count() > 0
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    assert not page.locator("nav").is_visible()
    hidden = page.evaluate("""() => [...document.querySelectorAll('.log, .scroll, .wrong')]
        .filter(e => e.scrollHeight > e.clientHeight + 1).length""")
    assert hidden == 0
    assert page.pdf().startswith(b"%PDF")


def test_it_says_how_to_do_it_again_and_with_what(browser: Browser, tmp_path: Path) -> None:
    kernel = {"kernel patched": {"release": "6.12", "image": "fa16b75a"}}
    facts = {"command": ["hilagent", "run", "a b"], "payload_build_id": "56f538af", **kernel}
    page = Shown(browser, written(tmp_path / "run", Outcome("a", Verdict.PASS), other=facts)).page
    assert page.locator("#environment ~ pre").inner_text() == "hilagent run 'a b'"
    said = page.locator(".facts").inner_text()
    for value in ("6.12", "fa16b75a", "56f538af", "iss-2015", "lab"):
        assert value in said


def test_a_crash_that_is_cut_out_of_the_log_is_counted(browser: Browser, tmp_path: Path) -> None:
    said = [(0.1 * n, made.PANIC + b"x" * 70_000 + b"\r\n") for n in range(60)]
    page = Shown(browser, written(tmp_path / "run", Outcome("a", Verdict.PASS), said=said)).page
    assert (
        "What died or was complained of, 60 times: Kernel panic"
        in page.locator("main").inner_text()
    )
    assert page.locator(".log .crash").count() < 60


def test_what_says_the_same_is_told_once(browser: Browser, tmp_path: Path) -> None:
    same = [Outcome(f"clobber[{n}]", Verdict.HANG, "does not come home") for n in range(6)]
    page = Shown(browser, written(tmp_path / "run", *same, Outcome("a", Verdict.FAIL, "x"))).page
    heads = page.locator("article.bad h3").all_inner_texts()
    assert [head.split()[:2] for head in heads] == [["HANG", "clobber[0]"], ["FAIL", "a"]]
    page.get_by_text("and 5 more that say the same").click()
    assert page.locator("article.bad li:visible").count() == 5


def test_a_cell_opens_its_evidence(browser: Browser, classes: Path) -> None:
    page = Shown(browser, classes).page
    cell = page.get_by_role("link", name="x19: changed against the contract")
    row = page.locator(cell.get_attribute("href") or "")
    assert not row.is_visible()
    cell.press("Enter")
    row.wait_for(state="visible")
    said = row.inner_text()
    assert "keeps its value" in said
    assert "0x0000000000000013" in said
    assert "EC\n0x16, HVC" in page.locator(".esr").first.inner_text()


def test_the_wrong_cell_is_ringed_and_listed(browser: Browser, classes: Path) -> None:
    page = Shown(browser, classes).page
    ring = page.locator("#dispatch ~ .map circle")
    assert ring.count() == 1
    assert (ring.get_attribute("cx"), ring.get_attribute("cy")) == ("239.5", "190.5")
    assert page.locator(".wrong li").all_inner_texts() == ["0xbeef unknown: sets VBAR_EL2 from x0"]
    red = page.evaluate("""async () => {
        const image = new Image();
        image.src = document.querySelector('.map image').getAttribute('href');
        await image.decode();
        const canvas = new OffscreenCanvas(256, 256).getContext('2d');
        canvas.drawImage(image, 0, 0);
        const all = canvas.getImageData(0, 0, 256, 256).data, found = [];
        for (let n = 0; n < 65536; n++) if (all[4 * n] === 193) found.push(n);
        return found;
    }""")
    assert red == [0xBEEF]


def test_a_live_kernels_hcalls_and_each_restarts_entry_are_told(
    browser: Browser, classes: Path
) -> None:
    page = Shown(browser, classes).page
    cells = page.locator("#kernels ~ .scroll tbody tr").first.locator("td").all()
    assert [each.inner_text() for each in cells] == ["held", "BROKEN"]
    assert cells[1].get_attribute("title") == "x0 is 5"
    rule = page.locator("#entry ~ .scroll tr", has_text="entry-x1")
    assert rule.locator("td").all_inner_texts() == ["x1 is 0", "BROKEN", "BROKEN"]
    assert page.locator(".legs tbody tr").count() == 2


def test_tests_are_filtered_and_sorted(browser: Browser, classes: Path) -> None:
    page = Shown(browser, classes).page
    page.locator("#filter").fill("hang")
    assert page.locator("#tests tbody tr:visible").count() == 1
    page.locator("#filter").fill("")
    page.get_by_role("button", name="test", exact=True).click()
    names = page.locator("#tests tbody th").all_inner_texts()
    assert names == sorted(names)
    page.get_by_role("button", name="test", exact=True).click()
    assert page.locator("#tests tbody th").all_inner_texts() == names[::-1]


@pytest.mark.parametrize(
    "found", [each for each in Verdict if each is not Verdict.UNSUPPORTED], ids=lambda v: v.name
)
def test_the_verdict_comes_first(browser: Browser, tmp_path: Path, found: Verdict) -> None:
    page = Shown(browser, written(tmp_path / "run", Outcome("a[b]", found, "why"))).page
    assert page.locator(".verdict").inner_text() == found.name
    assert page.title() == f"qemu-virt: {found.name}"


def test_a_run_without_anything_says_so(browser: Browser, tmp_path: Path) -> None:
    made.run(tmp_path / "run", said=(), ends=False)
    report.write(tmp_path / "run")
    shown = Shown(browser, tmp_path / "run/report.html")
    assert shown.page.locator(".verdict").inner_text() == "UNFINISHED"
    assert "it was killed" in shown.page.locator("header").inner_text()
    assert "no console log" in shown.page.locator("main").inner_text()
    assert shown.accessible() == []


@pytest.mark.parametrize("scheme", SCHEMES)
def test_twenty_boards_on_a_page(browser: Browser, tmp_path: Path, scheme: Scheme) -> None:
    names = [f"board-{n:02}" for n in range(20)]
    folder = tmp_path / "all"
    verdicts = [list(Verdict)[n % len(Verdict)] for n in range(20)]
    for name, verdict in zip(names, verdicts, strict=True):
        child(folder / name, Verdict.PASS, verdict)
    parent(folder, names, {}, **dict.fromkeys(names, 0))
    many.write(folder)
    shown = Shown(browser, folder / "report.html", scheme)
    assert shown.accessible() == []
    assert shown.wrong == []
    assert shown.page.locator("#tests tbody tr").count() == 20
    for link in shown.page.locator("#tests tbody a").all():
        assert (folder / (link.get_attribute("href") or "")).exists()
    shown.page.get_by_role("button", name="verdict").click()
    found = shown.page.locator("#tests tbody td:nth-child(2)").all_inner_texts()
    assert found[0] == "CRASH"
    assert found[-1] == "PASS"
