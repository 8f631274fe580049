"""A real browser without a window, for tests of pages: Debian's Chromium, driven by selenium.

Goes in: an address (file:// or of this machine) and the size of the window. Comes out: an :class:`Page` that says what
the browser's console said, which requests were made, and how wide the page is.
"""

import json
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
DRIVER = "chromedriver"
PHONE = (360, 740)
DESK = (1280, 900)
# No window, no profile that is there already, and nothing that asks the network on its own.
SWITCHES = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync")
SWITCHES += ("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage")
SECONDS = 30


class Page:
    """An open page. ``driver`` is selenium's own, for what this has no word for."""

    def __init__(self, driver, address):
        self.driver = driver
        self.address = address
        # Requests are told once each.
        self._requests = []

    def run(self, script, *arguments):
        """What a piece of JavaScript returns."""
        return self.driver.execute_script(script, *arguments)

    def errors(self):
        """What the console has said that is worse than a note, since this was asked last."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]

    def requests(self):
        """The addresses of all requests that the page has made, but for its own and data: in the page itself."""
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                self._requests.append(message["params"]["request"]["url"])
        own = {self.address, self.address.partition("#")[0]}
        return [url for url in self._requests if url not in own and not url.startswith(("data:", "blob:"))]

    def overflow(self):
        """CSS pixels that the page is wider than its window; what scrolls within it does not count."""
        return self.run("const e = document.documentElement; return e.scrollWidth - e.clientWidth")

    def screenshot(self, file, whole=True):
        """A PNG of the page, from its top to its end, or of the window."""
        if whole:
            height = self.run("return document.documentElement.scrollHeight")
            width = self.run("return window.innerWidth")
            shown = {
                "captureBeyondViewport": True,
                "clip": {"x": 0, "y": 0, "width": width, "height": height, "scale": 1},
            }
            import base64

            Path(file).write_bytes(
                base64.b64decode(self.driver.execute_cdp_cmd("Page.captureScreenshot", shown)["data"])
            )
        else:
            self.driver.save_screenshot(str(file))

    def printed(self, file):
        """The page as it is printed, a PDF on A4."""
        import base64

        paper = {"paperWidth": 8.27, "paperHeight": 11.69, "printBackground": False}
        Path(file).write_bytes(base64.b64decode(self.driver.execute_cdp_cmd("Page.printToPDF", paper)["data"]))


class Browser:
    """One browser, whose window takes on any size; pages follow each other in it."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, address, width=DESK[0], height=DESK[1]):
        """Loads ``address`` (text, or the path of a file) in a window whose page area has this size."""
        if isinstance(address, Path):
            address = address.resolve().as_uri()
        # The size of the page itself: windows cannot be as narrow as a phone.
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.get("about:blank")
        for log in ("browser", "performance"):
            self.driver.get_log(log)
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.driver.get(address)
        return Page(self.driver, address)


@contextmanager
def browsing(profile):
    """A :class:`Browser` with its profile in the empty folder ``profile``, ended at the end; skips where there is none."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None or shutil.which(DRIVER) is None:
        pytest.skip("needs Chromium and chromedriver (Debian: apt-get install chromium chromium-driver)")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for switch in (*SWITCHES, f"--user-data-dir={profile}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which(DRIVER)))
    try:
        driver.set_page_load_timeout(SECONDS)
        driver.set_script_timeout(SECONDS)
        yield Browser(driver)
    finally:
        driver.quit()
