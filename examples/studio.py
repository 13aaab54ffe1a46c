"""Take screenshots of the studio for docs/gallery: needs Chromium (apt-get install chromium).

`python examples/studio.py example` paints the picture of the page's first look instead.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

import impasto
from impasto.images.samples import sample_painting, sample_photograph, sample_style

GALLERY = Path(__file__).parent.parent / "docs" / "gallery"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--enable-unsafe-swiftshader",
]

# both pictures and those of the examples
LOADED = """[...document.images].filter(image => image.naturalWidth).length > 10
    && !document.body.innerText.includes('Loading')"""


def painted(page: Page) -> None:
    """Press Paint and wait until it is done."""
    page.click("#paint")
    page.wait_for_function(
        "document.querySelector('#status').innerText.includes('Done')", timeout=600_000
    )
    page.wait_for_timeout(1000)


def keep(page: Page, name: str) -> None:
    """Save a screenshot as JPEG: photographs as PNG would be megabytes."""
    png = GALLERY / f"{name}.png"
    page.mouse.move(0, 0)
    page.screenshot(path=png)
    with Image.open(png) as image:
        image.convert("RGB").save(GALLERY / f"{name}.jpg", quality=88)
    png.unlink()
    print(GALLERY / f"{name}.jpg")


def example() -> None:
    """Paint the finished example of the page's first look, which is in the package."""
    painting = impasto.paint(sample_photograph(), sample_style("strokes"), size=720)
    painting.image.save(sample_painting(), quality=82, optimize=True, progressive=True)


def main() -> None:
    """Open the studio, paint in it, and save screenshots."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("needs Chromium: apt-get install chromium")
    command = [Path(sys.executable).parent / "impasto", "serve", "--demo", "--port", "0"]
    command += ["--save-to", "none"]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server,
        sync_playwright() as driver,
    ):
        assert server.stdout is not None
        url = re.search(r"http://\S+", server.stdout.readline())[0]
        browser = driver.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.goto(url)
        page.get_by_role("button", name="Example: woodcut").click()
        painted(page)
        page.get_by_role("button", name="Example: strokes").click()
        page.wait_for_timeout(500)
        page.click("#paint")
        page.wait_for_selector("#preview img[alt^='The painting at step']")
        page.wait_for_function(
            "/step (8|9|1\\d)\\d\\//.test(document.querySelector('#preview').innerText)",
            timeout=300_000,
        )
        keep(page, "studio-live")
        page.wait_for_function(
            "document.querySelector('#status').innerText.includes('Done')", timeout=600_000
        )
        page.wait_for_timeout(1000)
        keep(page, "studio")
        phone = browser.new_page(viewport={"width": 390, "height": 844}, device_scale_factor=2)
        phone.goto(url)
        phone.wait_for_function(LOADED, timeout=60_000)
        phone.wait_for_timeout(1000)
        keep(phone, "studio-phone")
        browser.close()
        server.terminate()


if __name__ == "__main__":
    example() if sys.argv[1:] == ["example"] else main()
