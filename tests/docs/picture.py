# SPDX-License-Identifier: Apache-2.0
"""Draws the page of a run as an SVG for the README: what the browser laid out, as text::

    python -m tests.docs.picture RUN tests/docs/report.svg

Only the parts that fit a README are drawn: the head, what went wrong, and the registers.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from playwright.sync_api import ViewportSize, sync_playwright

from tests.report.test_page import launched

WIDTH = 1190
SHOWS = "run qemu-virt -o smp=2 --suite dispatch --suite clobber --vectors mutant:get_clobbers_x19"
"""What the README's picture is of."""
KEPT = ("h-accused", "clobber")
"""The sections that are drawn."""
_TEXT = "{http://www.w3.org/2000/svg}text"
_LAY_OUT = """
(kept) => {
  for (const part of document.querySelectorAll('section, nav, footer'))
    if (!kept.includes(part.getAttribute('aria-labelledby'))) part.remove();
  for (const hidden of document.querySelectorAll('details, script')) hidden.remove();
  const out = [];
  const shown = (e) => { const s = getComputedStyle(e); return s.visibility != 'hidden'; };
  for (const e of document.querySelectorAll('body *')) {
    const r = e.getBoundingClientRect(), s = getComputedStyle(e);
    if (!r.width || !r.height || !shown(e)) continue;
    const box = (x, y, w, h, fill) => w && h && out.push({x, y, w, h, fill});
    const back = s.backgroundColor;
    if (back != 'rgba(0, 0, 0, 0)') box(r.x, r.y, r.width, r.height, back);
    if (['TD', 'TH'].includes(e.tagName)) continue;
    if (e.tagName == 'TR') { box(r.x, r.bottom - 1, r.width, 1, '#d0d4d9'); continue; }
    const side = (name) => parseFloat(s['border' + name + 'Width']);
    if (s.borderLeftStyle == 'solid') box(r.x, r.y, side('Left'), r.height, s.borderLeftColor);
    if (s.borderTopStyle == 'solid') box(r.x, r.y, r.width, side('Top'), s.borderTopColor);
    if (s.borderBottomStyle == 'solid')
      box(r.x, r.bottom - side('Bottom'), r.width, side('Bottom'), s.borderBottomColor);
    if (s.borderRightStyle == 'solid')
      box(r.right - side('Right'), r.y, side('Right'), r.height, s.borderRightColor);
  }
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const node = walk.currentNode, e = node.parentElement, s = getComputedStyle(e);
    if (!node.data.trim() || !shown(e)) continue;
    let line = null;
    for (const word of node.data.matchAll(/\\S+/g)) {
      const range = document.createRange();
      range.setStart(node, word.index);
      range.setEnd(node, word.index + word[0].length);
      const r = range.getClientRects()[0];
      if (!r || !r.width) continue;
      if (line && Math.abs(line.y - r.y) < 2) {
        line.text += ' ' + word[0];
        line.w = r.right - line.x;
        continue;
      }
      const font = {size: parseFloat(s.fontSize), weight: s.fontWeight};
      font.mono = s.fontFamily.includes('mono');
      line = {x: r.x, y: r.y, w: r.width, h: r.height, text: word[0], fill: s.color, ...font};
      out.push(line);
    }
  }
  return {parts: out, height: document.body.scrollHeight};
}
"""


def drawn(page: Path) -> str:
    """Return the SVG of a report's page."""
    with sync_playwright() as player:
        browser = launched(player)
        size = ViewportSize(width=WIDTH, height=800)
        tab = browser.new_page(viewport=size, color_scheme="light", bypass_csp=True)
        tab.goto(page.as_uri())
        tab.add_style_tag(content="th, th * { writing-mode: horizontal-tb !important }")
        found = tab.evaluate(_LAY_OUT, list(KEPT))
        browser.close()
    lines = [
        "<!-- SPDX-License-Identifier: Apache-2.0 -->",
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {found["height"]}">',
        f'<rect width="{WIDTH}" height="{found["height"]}" fill="#fff"/>',
        *(_text(part) if "text" in part else _box(part) for part in found["parts"]),
        "</svg>",
        "",
    ]
    return "\n".join(lines)


def words(svg: str) -> list[str]:
    """Return what is written in a picture, without what differs from run to run."""
    said = [each.text or "" for each in ElementTree.fromstring(svg).iter() if each.tag == _TEXT]
    return [re.sub(r"0x[0-9a-f]{5,}|\d{4}-\S+|\d\d:\S+|\d+ s\b", "N", each) for each in said]


def _box(part: dict[str, Any]) -> str:
    x, y, w, h = (f"{part[key]:.4g}" for key in "xywh")
    return f'<rect x="{x}" y="{y}" width="{w}" height="{h}" fill="{part["fill"]}"/>'


def _text(part: dict[str, Any]) -> str:
    size, family = part["size"], "monospace" if part["mono"] else "sans-serif"
    base = part["y"] + part["h"] / 2 + size * 0.35
    weight = ' font-weight="bold"' if int(part["weight"]) > 500 else ""
    font = f'font-size="{size:.3g}" font-family="{family}"{weight} fill="{part["fill"]}"'
    wide = f'textLength="{part["w"]:.4g}" lengthAdjust="spacingAndGlyphs"'
    return f'<text x="{part["x"]:.4g}" y="{base:.4g}" {font} {wide}>{escape(part["text"])}</text>'


def main() -> None:
    """Draw the page of a run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("svg", type=Path)
    asked = parser.parse_args()
    asked.svg.write_text(drawn((asked.run / "report.html").resolve()))


if __name__ == "__main__":
    main()
