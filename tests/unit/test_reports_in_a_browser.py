"""A report as a page in a real browser: what is shown, the filter, and that nothing else is run or asked for.

Chromium runs it, through Playwright; `scripts/setup slow` installs both.
"""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ipvkit.core.command import Completed
from ipvkit.lab import Check
from ipvkit.report import html
from ipvkit.report.entries import Heat, Report, Section
from ipvkit.report.run import report as report_of
from ipvkit.run.verdicts import judge
from recorder import answered, unanswered
from requires import requires
from runs import ADDRESS, plan_of, run_of

pytestmark = [pytest.mark.slow, requires("playwright", "chromium")]

HOSTILE = "<script>document.title = 'pwned'</script><img src=x onerror=\"document.title = 'pwned'\">"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright import sync_api

    with sync_api.sync_playwright() as playwright:
        # Root has no sandbox.
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """Yield an empty page; what it prints on the console or asks for besides its file is a failure."""
    context = browser.new_context()
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: None if is_file(request.url) else problems.append(request.url))
    yield page
    context.close()
    assert problems == []


def is_file(url: str) -> bool:
    return url.startswith("file:")


def a_report() -> Report:
    plan = plan_of(Check("test1", "gateway"), Check("host", "test1"), Check("test2", "gateway"))
    failed = Completed(2, "", HOSTILE, 0.1)
    return report_of(judge(run_of(plan, answered(ADDRESS), unanswered(ADDRESS), failed), paths=True))


def opened(page: Any, folder: Path, report: Report) -> None:
    file = folder / "report.html"
    file.write_text("".join(html.render(report)), encoding="utf-8")
    page.goto(f"file://{file}")


def shown(page: Any) -> list[str]:
    """Return the names of the checks that can be seen."""
    return [row.inner_text().split("\n")[0] for row in page.locator("tr.entry:visible th").all()]


def test_the_verdict_is_shown_and_hostile_text_is_text(page: Any, tmp_path: Path) -> None:
    hostile = replace(a_report(), verdict=HOSTILE, notes=(HOSTILE,), facts=((HOSTILE, HOSTILE),))
    opened(page, tmp_path, hostile)
    assert page.title() == "walkthrough: error"
    assert page.locator(".verdict").inner_text() == HOSTILE
    assert page.locator("img").count() == 0
    assert HOSTILE in page.locator("tr.is-bad pre").inner_text()


def test_the_filter_shows_what_has_all_words_and_what_differs(page: Any, tmp_path: Path) -> None:
    opened(page, tmp_path, a_report())
    every = ["test1 -> gateway", "host -> test1", "test2 -> gateway"]
    assert shown(page) == every
    page.get_by_label("Filter").fill("GATEWAY test1")
    assert shown(page) == every[:1]
    assert page.get_by_role("status").inner_text() == "1 of 3 shown"
    page.get_by_label("Filter").fill("")
    page.get_by_label("only what differs").check()
    assert shown(page) == every[2:]


def test_details_are_folded_but_for_what_differs_and_unfold_by_keyboard(
    page: Any,
    tmp_path: Path,
) -> None:
    opened(page, tmp_path, a_report())
    first, *_ = page.locator("tr.entry details").all()
    assert not first.locator("ol").is_visible()
    assert page.locator("tr.is-bad pre").is_visible()
    first.locator("summary").focus()
    page.keyboard.press("Enter")
    assert first.locator("ol").is_visible()
    page.get_by_role("button", name="Unfold all").click()
    assert page.locator("details:not([open])").count() == 0
    page.get_by_role("button", name="Fold all").click()
    assert page.locator("details[open]").count() == 0


def test_one_of_several_kernels_is_chosen(page: Any, tmp_path: Path) -> None:
    heats = tuple(
        Heat("", ("from", "a"), (("b", word),), of=of) for of, word in (("6.1", "no"), ("7.2", "yes"))
    )
    opened(page, tmp_path, replace(a_report(), sections=(Section("map", "map", (), heats=heats),)))
    assert page.locator("table.heat:visible td").all_inner_texts() == ["yes"]
    page.get_by_label("6.1", exact=True).check()
    assert page.locator("table.heat:visible td").all_inner_texts() == ["no"]


@pytest.mark.parametrize("width", [400, 1000, 1600])
def test_no_page_is_wider_than_its_window(page: Any, tmp_path: Path, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    opened(page, tmp_path, a_report())
    page.get_by_role("button", name="Unfold all").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_filter_of_2000_checks_shows_one(page: Any, tmp_path: Path) -> None:
    report = a_report()
    (section,) = (each for each in report.sections if each.entries)
    many = tuple(replace(section.entries[0], name=f"test{number} -> gateway") for number in range(2000))
    opened(page, tmp_path, replace(report, sections=(replace(section, entries=many),)))
    page.get_by_label("Filter").fill("test1234 ")
    assert shown(page) == ["test1234 -> gateway"]
