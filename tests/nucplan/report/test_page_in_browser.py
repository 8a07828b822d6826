"""The page in a browser: whole, quiet, and no wider than a screen of 1280 px or a sheet of paper."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

from nucplan.report.html import render

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="Chromium is not installed")

# A4 landscape without its margins, at 96 px an inch.
PAPER = round((297 - 24) / 25.4 * 96)
# What only the test adds to the page: it measures, and leaves what it found in the page.
MEASURE = """<script>addEventListener("load", () => {
  const wide = [...document.querySelectorAll("main *, header *")]
    .filter(e => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
    .map(e => e.tagName + " " + e.textContent.slice(0, 60));
  const cut = [...document.querySelectorAll("td, th, figcaption, p")]
    .filter(e => e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0).map(e => e.tagName + " " + e.textContent);
  const broken = [...document.images].filter(i => !(i.complete && i.naturalWidth > 0)).map(i => i.alt);
  const small = [...document.querySelectorAll("td, th, p, figcaption, caption, li, small")]
    .filter(e => parseFloat(getComputedStyle(e).fontSize) < 9).map(e => e.tagName);
  const found = {wide, cut, broken, small, images: document.images.length,
    page: document.documentElement.scrollWidth, screen: document.documentElement.clientWidth};
  const note = document.createElement("pre");
  note.id = "found"; note.textContent = JSON.stringify(found);
  document.body.append(note);
});</script>"""


def chromium(page: Path, *options: str) -> subprocess.CompletedProcess:
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr"]
    command += [f"--user-data-dir={page.parent / 'profile'}", "--virtual-time-budget=10000", *options, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)


def measured(page: Path, text: str, width: int) -> dict:
    page.write_text(text.replace("</body>", MEASURE + "</body>"), encoding="utf-8")
    result = chromium(page, f"--window-size={width},1000", "--dump-dom")
    assert console(result.stderr) == []
    return json.loads(unescape(re.search(r'<pre id="found">(.*?)</pre>', result.stdout, re.DOTALL)[1]))


def console(log: str) -> list[str]:
    return [line for line in log.splitlines() if ":CONSOLE" in line]


@pytest.fixture(scope="module")
def text(report, pictures) -> str:
    return render(report, pictures)


@pytest.mark.parametrize(("width", "media"), [(1280, "screen"), (PAPER, "paper")])
def test_all_pictures_are_there_and_nothing_is_wider_than_the_page(tmp_path, text, pictures, width, media):
    if media == "paper":
        text = text.replace("@media print", "@media all")
    found = measured(tmp_path / "report.html", text, width)
    assert found["images"] == len(pictures)
    assert found["screen"] == width
    assert {kind: found[kind] for kind in ("broken", "wide", "cut", "small")} == dict.fromkeys(
        ("broken", "wide", "cut", "small"), []
    )
    assert found["page"] == width


def test_a_missing_picture_and_an_error_would_be_seen(tmp_path):
    broken = '<!DOCTYPE html><html><body><main><img src="data:image/png;base64,AAAA" alt="gone"></main></body></html>'
    assert measured(tmp_path / "broken.html", broken, 1280)["broken"] == ["gone"]
    page = tmp_path / "error.html"
    page.write_text("<!DOCTYPE html><html><body><script>undefined.x</script></body></html>")
    assert len(console(chromium(page, "--dump-dom").stderr)) == 1


def test_it_prints_to_paper_and_to_a_picture(tmp_path, text):
    page = tmp_path / "report.html"
    page.write_text(text, encoding="utf-8")
    result = chromium(page, f"--print-to-pdf={tmp_path / 'report.pdf'}", "--no-pdf-header-footer")
    assert console(result.stderr) == []
    pdf = (tmp_path / "report.pdf").read_bytes()
    sheets = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", pdf)
    assert len(sheets) > 5
    assert {(round(float(w)), round(float(h))) for w, h in sheets} == {(842, 595)}
    chromium(page, "--window-size=1280,2000", f"--screenshot={tmp_path / 'report.png'}")
    assert (tmp_path / "report.png").stat().st_size > 50_000
