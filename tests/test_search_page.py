"""The search page in a real browser: what people do with it, at a desk and on a phone."""

import time
from urllib.parse import parse_qs, urlsplit

import pytest

from biohicl.search.retriever import LONGEST_QUERY
from browser import DESK, PHONE, browsing
from served import TITLES, asked, serving
from test_citing import read_bibtex, read_ris

SECONDS = 20
TITLES_SHOWN = "return [...document.querySelectorAll('.hit h2')].map(e => e.textContent)"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with browsing(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture
def opened(browser, served):
    """Opens the page with what its address holds; at the end nothing was wrong, and nobody else was asked."""
    pages = []

    def open_page(query="", size=DESK):
        page = browser.open(f"{served}/{query}", *size)
        pages.append(page)
        # What is searched has been told last.
        until(page, "return document.getElementById('about').textContent !== ''")
        return page

    yield open_page
    for page in pages[-1:]:
        assert [entry for entry in page.errors() if "status of 4" not in entry] == []
        assert {urlsplit(url).netloc for url in page.requests()} == {urlsplit(served).netloc}
        assert page.overflow() <= 0
        assert page.run("return document.title") != "broken"


def until(page, script):
    """What a script returns once that is something."""
    ending = time.monotonic() + SECONDS
    while not (found := page.run(script)):
        assert time.monotonic() < ending, f"{script}: {page.run('return document.body.innerText')[:2000]}"
        time.sleep(0.03)
    return found


def keys(page, selector, *typed):
    page.driver.find_element("css selector", selector).send_keys(*typed)


def click(page, selector):
    page.driver.find_element("css selector", selector).click()


def said(page, name, words):
    """Waits until an element says something."""
    return until(page, f"return document.getElementById('{name}').textContent.includes({words!r})")


def in_address(page):
    return parse_qs(urlsplit(page.run("return location.href")).query)


def count_of(page):
    return page.run("return document.querySelectorAll('.hit').length")


def test_type_and_read(opened):
    from selenium.webdriver.common.keys import Keys

    page = opened()
    assert page.run("return document.activeElement.id") == "q"
    keys(page, "#q", "zebrafish fins", Keys.ENTER)
    said(page, "count", "10 citations, best first")
    titles = page.run(TITLES_SHOWN)
    # Markup in a title is text; line breaks are spaces.
    assert (
        TITLES[0] in titles
        and page.run("return document.querySelectorAll('.hit script, .hit img, .hit b').length") == 0
    )
    marks = page.run("return [...document.querySelectorAll('.hit mark')].map(e => e.textContent.toLowerCase())")
    assert set(marks) == {"zebrafish", "fins"}
    links = page.run("return [...document.querySelectorAll('.hit a')].map(a => [a.href, a.target, a.rel])")
    assert len(links) == 10
    for href, target, rel in links:
        assert href.startswith("https://pubmed.ncbi.nlm.nih.gov/99000") and target == "_blank"
        assert rel == "noopener noreferrer"
    # The abstract unfolds.
    assert page.run("return document.querySelectorAll('.abstract.short').length") > 0
    click(page, ".hit .doing button[aria-expanded=false]")
    assert page.run("return document.querySelector('.hit .doing button[aria-expanded=true]').textContent") == "Less"
    # Texts run the way they are written.
    place = titles.index(TITLES[1])
    assert (
        page.run("return getComputedStyle(document.querySelectorAll('.hit h2')[arguments[0]]).direction", place)
        == "rtl"
    )
    click(page, "#more")
    until(page, "return document.querySelectorAll('.hit').length === 30")


def test_everything_has_a_name(opened):
    page = opened("?q=zebrafish&heading=Humans")
    said(page, "count", "10 citations")
    controls = page.driver.find_elements("css selector", "input, select, button, a[href], textarea, summary")
    shown = [control for control in controls if control.is_displayed()]
    assert len(shown) > 60
    for control in shown:
        assert control.accessible_name.strip(), control.get_attribute("outerHTML")


def test_the_tree_unfolds_and_filters_by_keyboard_and_mouse(opened):
    from selenium.webdriver.common.keys import Keys

    page = opened("?q=treatment")
    until(page, "return document.querySelectorAll('#tree > li').length")
    page.run("[...document.querySelectorAll('#tree .fold')].find(b => b.ariaLabel === 'Unfold Diseases').focus()")
    focused = page.driver.switch_to.active_element
    focused.send_keys(Keys.ARROW_RIGHT)
    until(page, "return document.querySelector('#tree ul li .name')")
    page.driver.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    row = page.run("return document.activeElement.closest('li').querySelector('.name').textContent")
    page.driver.switch_to.active_element.send_keys(Keys.ARROW_DOWN)
    assert page.run("return document.activeElement.closest('li').querySelector('.name').textContent") != row
    page.driver.switch_to.active_element.send_keys(Keys.ARROW_UP, Keys.ARROW_LEFT)
    assert page.run("return document.activeElement.ariaLabel") == "Unfold Diseases"
    page.driver.switch_to.active_element.send_keys(Keys.ARROW_LEFT)
    assert page.run("return document.activeElement.ariaExpanded") == "false"
    page.driver.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    page.run("[...document.querySelectorAll('#tree .name')].find(b => b.textContent === 'Neoplasms').click()")
    until(page, "return document.querySelector('#chips button')?.textContent === 'Neoplasms ×'")
    said(page, "count", "citations")
    assert in_address(page)["heading"] == ["D009369"]
    assert page.run("return document.querySelector('#tree [data-ui=D009369]').ariaPressed") == "true"
    # The filter's count is what the tree said.
    assert page.run("return document.querySelector('#tree [data-ui=D009369] ~ .number').textContent").isdigit()
    click(page, "#chips button")
    until(page, "return !document.querySelector('#chips button')")
    assert "heading" not in in_address(page)
    assert page.run("return document.activeElement.id") == "heading"


def test_headings_are_suggested_while_typing(opened):
    from selenium.webdriver.common.keys import Keys

    page = opened("?q=treatment")
    keys(page, "#heading", "lung neo")
    until(page, "return !document.getElementById('suggested').hidden")
    keys(page, "#heading", Keys.ARROW_DOWN)
    chosen = page.run(
        "return document.getElementById(document.getElementById('heading').getAttribute('aria-activedescendant')).textContent"
    )
    assert chosen.startswith("Lung Neoplasms")
    keys(page, "#heading", Keys.ENTER)
    until(page, "return document.querySelector('#chips button')?.textContent === 'Lung Neoplasms ×'")
    # One that there is none of: the nearest is named, beside the box.
    keys(page, "#heading", "Hart", Keys.ENTER)
    said(page, "wrong-heading", "did you mean 'Heart'")
    assert page.run("return document.querySelectorAll('#chips button').length") == 1
    # A tree number is a heading too.
    page.run("document.getElementById('heading').value = ''")
    keys(page, "#heading", "C04", Keys.ENTER)
    until(page, "return document.querySelectorAll('#chips button').length === 2")
    assert page.run("return document.getElementById('wrong-heading').textContent") == ""


def test_the_address_holds_the_search_and_the_way_back(opened):
    query = "?q=treatment&mode=bm25&from=1995&to=2015&heading=D009369&type=Journal+Article&k=30"
    page = opened(query)
    said(page, "count", "citations, best first")
    state = "return [q.value, mode.value, document.getElementById('from').value, to.value, chips.textContent, [...types.querySelectorAll('input:checked')].map(e => e.value).join()]"
    expected = ["treatment", "bm25", "1995", "2015", "Neoplasms ×", "Journal Article"]
    assert page.run(state) == expected
    before = page.run(TITLES_SHOWN)
    assert len(before) > 10
    click(page, ".hit .doing button:last-child")
    said(page, "count", "most like PMID")
    assert page.run("return q.value") == "" and in_address(page)["like"][0].startswith("99000")
    page.driver.back()
    until(page, "return document.getElementById('count').textContent.endsWith('citations, best first')")
    until(page, f"return document.querySelectorAll('.hit').length === {len(before)}")
    assert page.run(TITLES_SHOWN) == before and page.run(state) == expected
    page.driver.forward()
    said(page, "count", "most like PMID")


def test_citations_are_copied(opened, served, browser):
    permit = {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"], "origin": served}
    browser.driver.execute_cdp_cmd("Browser.grantPermissions", permit)
    page = opened("?q=zebrafish+fins&mode=bm25")
    total = until(page, "return document.querySelectorAll('.hit').length")
    click(page, "[data-format=pmid]")
    said(page, "copied", f"{total} citations copied as PMIDs")
    read = "const done = arguments[0]; navigator.clipboard.readText().then(done, e => done(String(e)))"
    listed = page.driver.execute_async_script(read).split()
    assert listed == page.run("return [...document.querySelectorAll('.hit')].map(e => e.dataset.pmid)")
    click(page, ".hit:nth-child(2) > input")
    said(page, "chosen", f"1 of {total} chosen")
    for name, parse in (("bibtex", read_bibtex), ("ris", read_ris)):
        click(page, f"[data-format={name}]")
        said(page, "copied", "1 citation copied as " + {"bibtex": "BibTeX", "ris": "RIS"}[name])
        assert (
            len(
                parse(
                    page.driver.execute_async_script(read)
                    .replace("\r\n", "\n")
                    .replace("\n", "\r\n" if name == "ris" else "\n")
                )
            )
            == 1
        )
    click(page, "#all")
    said(page, "chosen", f"{total} of {total} chosen")
    # Where the browser does not allow it, the text can be taken from a box.
    page.run("navigator.clipboard.writeText = () => Promise.reject(new Error('no'))")
    click(page, "[data-format=bibtex]")
    until(page, "return document.getElementById('text').open")
    assert len(read_bibtex(page.run("return document.getElementById('text-content').value"))) == total
    assert page.run("return document.getElementById('text-file').download") == "citations.bib"
    click(page, "#text-close")


@pytest.mark.parametrize(
    ("query", "place", "words"),
    [
        (f"?q={'x' * (LONGEST_QUERY + 1)}", "wrong", "5,001 characters, and at most 5,000"),
        ("?q=heart&from=2010&to=2001", "wrong-years", "No year is from 2010 to 2001"),
        ("?q=heart&from=99999", "wrong-years", "First_year: input should be less"),
        ("?q=heart&heading=Lung+Neoplasmz", "wrong-heading", "did you mean 'Lung Neoplasms'"),
        ("?q=heart&type=Novel", "wrong", "'Novel' is no publication type"),
        ("?like=1", "wrong", "PMID 1 is not among"),
        ("?like=99999999999999999999", "wrong", "Pmid: input should be less"),
        ("?like=../about", "start", "Type a question"),
        ("?q=xyzzyx&mode=bm25", "count", "No citation has any of these words."),
        ("?q=heart&from=2098", "count", "No citation passes these filters."),
        ("?q=%3Cscript%3Edocument.title='broken'%3C/script%3E", "count", "citations"),
        ("?q=heart&k=1e9&mode=magic", "count", "10 citations"),
    ],
)
def test_errors_are_said_near_their_box(opened, query, place, words):
    said(opened(query), place, words)


def test_an_empty_query_and_one_that_is_corrected(opened):
    from selenium.webdriver.common.keys import Keys

    page = opened()
    keys(page, "#q", "  ", Keys.ENTER)
    said(page, "wrong", "The query is empty")
    assert page.run("return q.ariaInvalid") == "true"
    keys(page, "#q", "heart", Keys.ENTER)
    said(page, "count", "10 citations")
    assert page.run("return [q.ariaInvalid, wrong.textContent]") == ["false", ""]


@pytest.mark.parametrize(
    "query", ["", "?q=zebrafish+fins&mode=bm25&heading=D009369&heading=D006801", "?q=zebrafish+fins"]
)
def test_on_a_phone(opened, query):
    page = opened(query, PHONE)
    until(page, "return document.querySelectorAll('#tree > li').length")
    if query.endswith("fins"):
        until(page, "return document.querySelectorAll('.hit').length")
    assert page.run("return document.getElementById('filters').open") is False
    click(page, "#filters > summary")
    until(page, "return document.getElementById('heading').offsetParent !== null")
    assert page.overflow() <= 0


def test_a_server_that_is_gone_is_said(browser, searched):
    from selenium.webdriver.common.keys import Keys

    with serving(searched) as (address, process):
        page = browser.open(f"{address}/?q=heart")
        said(page, "count", "10 citations")
        assert asked(address, "/api/about")[0] == 200
        process.terminate()
        process.wait(15)
        keys(page, "#q", " attack", Keys.ENTER)
        said(page, "wrong", "The server does not answer")
