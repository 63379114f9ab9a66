"""A headless Chromium, where there is one: the system's own, driven by its own chromedriver; nothing is downloaded."""

import shutil

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# As few words with the network and the machine as can be had.
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    """The driver; one for the session."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install selenium")
    browser = next(filter(None, map(shutil.which, NAMES)), None)
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("no Chromium with its chromedriver here: apt-get install chromium chromium-driver")
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = webdriver.Chrome(options=options, service=Service(driver))
    yield chrome
    chrome.quit()


class Window:
    """A page that was opened, and what a person can do with it."""

    def __init__(self, chrome, folder):
        self._chrome, self._folder, self._count = chrome, folder, 0

    def open(self, html, width=1200, height=900, dark=False, scripts=True):
        """Write the page to a file, open it, and look at it in a window of this size."""
        self._command("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.prefer("dark" if dark else "light")
        self.resize(width, height)
        self._count += 1
        path = self._folder / f"page{self._count}.html"
        path.write_text(html, encoding="utf-8")
        self._chrome.get_log("browser")
        self._chrome.get(path.as_uri())
        return self

    def prefer(self, scheme):
        self._command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def resize(self, width, height=900):
        self._command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    def ask(self, script, *arguments):
        return self._chrome.execute_script(script, *arguments)

    def ask_later(self, script):
        return self._chrome.execute_async_script(script)

    def find(self, css):
        return self._chrome.find_elements("css selector", css)

    def point_at(self, element, right=0):
        """Put the pointer on the middle of an element, or so many pixels to the right of it."""
        from selenium.webdriver.common.action_chains import ActionChains

        self.ask("arguments[0].scrollIntoView({block: 'center'})", element)
        ActionChains(self._chrome, duration=0).move_to_element_with_offset(element, right, 0).perform()

    def reload(self):
        self._chrome.refresh()

    def complaints(self):
        """What the console says."""
        return [line["message"] for line in self._chrome.get_log("browser")]

    def allow_reading_the_clipboard(self):
        self._command("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])

    def forbid_the_clipboard(self):
        self._command("Browser.setPermission", permission={"name": "clipboard-write"}, setting="denied")

    def _command(self, name, **arguments):
        return self._chrome.execute_cdp_cmd(name, arguments)


@pytest.fixture
def window(chromium, tmp_path):
    opened = Window(chromium, tmp_path)
    yield opened
    chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    chromium.execute_cdp_cmd("Browser.resetPermissions", {})
