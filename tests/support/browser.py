"""A headless Chromium that may ask nobody for anything, and keeps what it tried."""

import base64
import contextlib
import json
import os
import pathlib
import shutil
import time
from collections.abc import Iterator
from typing import Any

import pytest

WIDTHS = {"desktop": (1280, 900), "phone": (320, 640)}
SCHEMES = ("light", "dark")
_CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


def require() -> tuple[str, str]:
    """Return the paths of Chromium and its driver; skip where one is not installed."""
    browser = next((found for name in _CHROMIUM if (found := shutil.which(name))), None)
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("needs a Chromium and its driver; type: apt-get install chromium chromium-driver")
    return browser, driver


class Browser:
    """One browser; ``open`` shows a page in a scheme and width."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(
        self,
        path: pathlib.Path,
        *,
        width: str = "desktop",
        scheme: str = "light",
        script: bool = True,
        with_policy: bool = True,
    ) -> None:
        w, h = WIDTHS[width]
        phone = width == "phone"
        self.command("Network.enable")
        # Nothing but the page itself: what it asks for beyond is refused, and seen in requests().
        self.command("Network.setBlockedURLs", urls=["http://*", "https://*", "ws://*", "wss://*", "ftp://*"])
        self.command(
            "Emulation.setDeviceMetricsOverride", width=w, height=h, deviceScaleFactor=2 if phone else 1, mobile=phone
        )
        self.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.command("Emulation.setScriptExecutionDisabled", value=not script)
        self.command("Page.setBypassCSP", enabled=not with_policy)
        self.driver.get_log("performance")
        self.driver.get_log("browser")
        self.driver.get(path.as_uri())

    def command(self, name: str, **arguments: Any) -> Any:
        return self.driver.execute_cdp_cmd(name, arguments)

    def run(self, script: str) -> Any:
        return self.driver.execute_script(script)

    def press(self, key: str) -> None:
        """Press a key, as selenium names it, where the focus is."""
        from selenium.webdriver import ActionChains, Keys

        ActionChains(self.driver).send_keys(getattr(Keys, key)).perform()

    def click(self, selector: str) -> None:
        """Click on the first element that the selector finds."""
        self.driver.find_element("css selector", selector).click()

    def requests(self) -> list[str]:
        """Return the addresses that were asked for since the page was opened, blocked ones too."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]

    def complaints(self) -> list[str]:
        """Return what the console says, errors and refusals by the content security policy."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def complains_within(self, seconds: float) -> bool:
        """Tell whether the console says anything; a refusal is reported a little after it happened."""
        ends = time.monotonic() + seconds
        while not (said := self.complaints()) and time.monotonic() < ends:
            time.sleep(0.1)
        return bool(said)

    def picture(self, path: pathlib.Path, *, height: int | None = None) -> None:
        """Write a PNG of the whole page, or of its first ``height`` pixels."""
        size = self.run("return [document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
        clip = {"x": 0, "y": 0, "width": size[0], "height": min(size[1], height or 16_000), "scale": 1}
        shot = self.command("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(shot["data"]))


@contextlib.contextmanager
def started() -> Iterator[Browser]:
    browser, driver_path = require()
    selenium = pytest.importorskip("selenium", reason="needs selenium; type: pip install selenium")
    del selenium
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = browser
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    for argument in (
        "headless=new",
        "disable-gpu",
        "disable-dev-shm-usage",
        "no-first-run",
        "disable-background-networking",
    ):
        options.add_argument(f"--{argument}")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # which Chromium does not have for root
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=driver_path))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
