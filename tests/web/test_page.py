"""The studio's page in a real browser: Debian's Chromium, driven by Playwright."""

import re
import shutil
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import (
    Browser,
    BrowserContext,
    BrowserType,
    Page,
    expect,
    sync_playwright,
)

from films import MOTIONS, photograph
from impasto.config import Config
from impasto.images.read import read_settings
from impasto.images.write import to_image
from impasto.objective.objective import Objective
from impasto.presets import QUICK
from impasto.web.jobs import job as jobs
from impasto.web.jobs import policy
from movies import write_clip
from studios import running

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
# The last one lets the brush's canvas draw without a graphics card.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-unsafe-swiftshader",
]
# in the order of need
CONTROLS = ("style-1", "setting-look", "slider-strength", "slider-style_scale", "setting-color")
WIDE = {"width": 1300, "height": 1000}
FRAME = "#preview img[alt^='The painting at step']"
LONG = 20_000  # steps that nobody waits for
evaluate = Objective.evaluate
SMALL = {"size": 64, "steps": 4}  # what the page's form begins with

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]


def unhurried(self: Objective, x: torch.Tensor) -> tuple:
    """An evaluation, and a rest: paintings that go on for long leave the processors to the page."""
    time.sleep(0.03)
    return evaluate(self, x)


@pytest.fixture(scope="module")
def place(tiny_weights):
    with (
        patch.object(Objective, "evaluate", unhurried),
        patch.multiple("impasto.painting.preview", SIDE=64, STEPS=2),
        patch("impasto.painting.subject.PIXELS", 96 * 72),
        patch.dict(QUICK, size=32, steps=2),
        patch.object(policy.Policy, "defaults", SMALL),
        running(tiny_weights, steps=LONG, upload=2_000_000) as place,
    ):
        yield place


@pytest.fixture(scope="module")
# after `place`: Playwright leaves a loop running, which that cannot have
def chromium(place) -> Iterator[BrowserType]:
    expect.set_options(timeout=30_000)  # other tests may take the processors for seconds
    with sync_playwright() as driver:
        yield driver.chromium


@pytest.fixture(scope="module")
def browser(chromium) -> Browser:
    """For visitors beside the first one."""
    return chromium.launch(executable_path=CHROMIUM, args=FLAGS)


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """A clip of three frames."""
    film = MOTIONS["pan"](photograph(48, 64))
    frames = [np.asarray(to_image(film.frame(t))) for t in range(3)]
    return write_clip(tmp_path_factory.mktemp("clip") / "walk.mp4", frames, (0, 40, 80))


@pytest.fixture(scope="module")
def visitor(chromium, tmp_path_factory) -> BrowserContext:
    """The first visitor of every test, who is another one without the cookie. What it has cached
    is kept, and compiled, on disk: a new one would load and compile the page's scripts again, for
    two seconds."""
    folder = tmp_path_factory.mktemp("profile")
    return chromium.launch_persistent_context(
        folder, executable_path=CHROMIUM, args=FLAGS, viewport=WIDE, reduced_motion="reduce"
    )


@pytest.fixture
def open_page(request, visitor, place, photo, style):
    """Opens pages, each as a visitor of its own, with the two pictures in it unless told
    otherwise."""
    visitors, asked = [], []
    visitor.clear_cookies()

    def open(filled: bool = True, **options: object) -> Page:
        first = not (visitors or options)
        if first:
            visitors.append(visitor)
        else:
            browser = request.getfixturevalue("browser")
            visitors.append(browser.new_context(**{"viewport": WIDE, **options}))
        page = visitors[-1].new_page()
        page.set_default_timeout(30_000)
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: asked.append(f"error: {error}"))
        with page.expect_response(re.compile("/queue/join")):  # its first event: it is alive
            page.goto(place.url)
        if filled:
            upload(page, "content", photo)
            upload(page, "style-1", style)
        return page

    yield open
    for page in visitor.pages[1:]:  # the first one is blank; without any Chromium ends
        page.close()
    for other in visitors:
        if other is not visitor:
            other.close()
    for job in list(place.studio.jobs.values()):  # what is left running delays the next test
        if not job.over:
            place.studio.cancel(job)
    strange = [url for url in asked if not url.startswith((place.url, "data:", "blob:"))]
    assert not strange, "the page asked others, or failed"


def upload(page: Page, where: str, path: Path) -> None:
    page.locator(f"#{where} input[type=file]").set_input_files(path)
    expect(page.locator(f"#{where} img").first).to_be_visible()


def settle(page: Page, size: int, steps: int) -> None:
    """Set the size, in sight, and the steps, in a folder of a folder."""
    choose(page, "size", str(size))
    if not page.locator("#setting-steps").is_visible():
        if not page.locator("#preset").is_visible():
            unfold(page, "All settings")
        unfold(page, "Solver")
        # what is unfolded comes with its own value, faster than anybody types
        page.wait_for_timeout(300)
    box = page.locator("#setting-steps input")
    box.fill(str(steps))
    page.keyboard.press("Tab")
    expect(box).to_have_value(str(steps))


def choose(page: Page, setting: str, value: str) -> None:
    box = page.locator(f"#setting-{setting} input")
    box.fill(value)
    page.keyboard.press("Enter")
    expect(box).to_have_value(value)


def unfold(page: Page, *titles: str) -> None:
    for title in titles:
        page.get_by_role("button", name=re.compile(f"^{title}")).first.click()


def shows(page: Page, text: str, timeout: float = 15) -> None:
    expect(page.locator("#status")).to_contain_text(text, timeout=1000 * timeout)


def frames_of(page: Page, count: int) -> list[str]:
    """The first so many different pictures that the page shows while it is painted."""
    found: list[str] = []
    deadline = time.monotonic() + 20
    while len(found) < count and time.monotonic() < deadline:
        source = page.evaluate(f"document.querySelector(\"{FRAME}\")?.src ?? ''")
        if source and source not in found:
            found.append(source)
        page.wait_for_timeout(50)
    return found


def take_home(page: Page, name: str, folder: Path) -> Path:
    with page.expect_download() as taken:
        page.get_by_role("link", name=name, exact=True).click()
    path = folder / taken.value.suggested_filename
    taken.value.save_as(path)
    return path


def last_job(place) -> jobs.Job:
    return list(place.studio.jobs.values())[-1]


def over(job: jobs.Job, seconds: float) -> str:
    deadline = time.monotonic() + seconds
    while not job.over and time.monotonic() < deadline:
        time.sleep(0.05)
    return job.state


def findings(page: Page) -> list[str]:
    """What axe-core calls serious, or worse."""
    page.wait_for_timeout(500)  # colors fade from one into the other
    found = Axe().run(page).response["violations"]
    return [
        f"{each['id']}: {node['html'][:150]}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]


def test_a_visitor_paints_watches_reloads_stops_and_downloads(open_page, place, tmp_path) -> None:
    page = open_page()
    settle(page, 96, LONG)
    page.get_by_role("button", name="Paint", exact=True).click()
    assert len(frames_of(page, 3)) == 3
    expect(page.locator("#preview")).to_contain_text(re.compile(r"0:\d\d left|\d+:\d\d left"))
    expect(page.locator("#preview svg")).to_be_visible()
    assert re.search(rf"level \d/\d · step \d+/{LONG}", page.inner_text("#preview"))
    job = last_job(place)
    page.reload()
    shows(page, "Painting.")
    assert len(frames_of(page, 2)) == 2
    expect(page.locator("#setting-size input")).to_have_value("96")
    for where in ("content", "style-1"):
        expect(page.locator(f"#{where} img").first).to_be_visible()
    page.get_by_role("button", name="Stop").click()
    shows(page, "Stopped after")
    assert job.state == "stopped"
    painting = take_home(page, "PNG", tmp_path)
    assert painting.name == "photo-style.png"
    settings = read_settings(painting)
    assert settings["config"]["size"] == 96
    assert 3 <= settings["steps_done"] < LONG
    assert [each["name"] for each in settings["inputs"]] == ["photo.png", "style.png"]
    with Image.open(painting) as image:
        assert max(image.size) == 96


def test_a_finished_painting_is_looked_at_in_every_way_and_taken_home_in_every_format(
    open_page, tmp_path
) -> None:
    page = open_page()
    unfold(page, "All settings")
    page.locator("#timelapse input").click()
    page.get_by_role("option", name="gif").click()
    page.click("#paint")
    shows(page, "Done")
    for name, kind in (
        ("PNG", "PNG"),
        ("JPEG", "JPEG"),
        ("WebP", "WEBP"),
        ("Time-lapse (gif)", "GIF"),
    ):
        path = take_home(page, name, tmp_path)
        with Image.open(path) as image:
            assert image.format == kind
        if kind != "GIF":
            assert read_settings(path)["config"]["steps"] == 4
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Loss curves").click()
    # a new tab is there before what it opens
    opened.value.wait_for_function("document.images[0]?.naturalWidth > 500")
    opened.value.close()
    for which in (0, 1):  # the painting, and the photograph
        expect(page.locator("#result img").nth(which)).to_have_js_property("naturalWidth", 64)
    compared = page.locator(".compared")
    assert compared.evaluate("e => getComputedStyle(e).getPropertyValue('--at')") == "0%", "whole"
    share = "e => e.style.getPropertyValue('--at')"
    holding = page.get_by_role("button", name="Hold to see the photograph")
    holding.hover()
    page.mouse.down()
    assert compared.evaluate(share) == "100%"
    page.mouse.up()
    assert compared.evaluate(share) == "0%"
    holding.focus()
    page.keyboard.down("p")
    assert compared.evaluate(share) == "100%"
    page.keyboard.up("p")
    page.keyboard.press("r")
    real = page.get_by_role("button", name="Real pixels")
    expect(real).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".compared img").first).to_have_attribute("src", re.compile("picture$"))
    real.click()
    expect(real).to_have_attribute("aria-pressed", "false")
    page.get_by_role("button", name="Full screen").click()
    page.wait_for_function("document.fullscreenElement?.className === 'viewer'")


@pytest.mark.slow
def test_the_comparison_is_moved_with_keys(open_page) -> None:
    page = open_page()
    page.click("#paint")
    shows(page, "Done")
    page.get_by_role("slider", name="Share of the photograph that is shown").focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    assert page.locator(".compared").evaluate("e => e.style.getPropertyValue('--at')") == "10%"


@pytest.mark.slow
def test_pause_and_go_on(open_page, place) -> None:
    page = open_page()
    settle(page, 96, LONG)
    page.click("#paint")
    frames_of(page, 2)
    page.click("#pause")
    shows(page, "Paused")
    job, step = last_job(place), last_job(place).progress.step
    page.wait_for_timeout(700)
    assert job.progress.step == step
    page.get_by_role("button", name="Go on").click()
    shows(page, "Painting")
    frames_of(page, 2)
    assert job.progress.step > step
    page.click("#stop")
    shows(page, "Stopped")


@pytest.mark.slow
def test_paint_on_starts_from_what_is_there_with_other_settings(open_page, place) -> None:
    page = open_page()
    expect(page.locator("#paint-on")).to_be_disabled()
    page.click("#paint")
    shows(page, "Done")
    settle(page, 64, 7)
    page.click("#paint-on")
    expect(page.locator("#preview")).to_contain_text("step 7/7")
    shows(page, "Done")
    settings = read_settings(last_job(place).file("painting.png"))
    assert settings["config"]["start"] == {policy.BASE: 1.0}
    assert [each["role"] for each in settings["inputs"]] == ["content", "style", "start"]


def test_earlier_paintings_are_compared_side_by_side_and_come_back(open_page, tmp_path) -> None:
    page = open_page()
    for size in ("64", "80"):
        choose(page, "size", size)
        page.click("#paint")
        shows(page, "Done")
        expect(page.locator("#result img").first).to_have_js_property("naturalWidth", int(size))
    items = page.locator("#history li")
    expect(items).to_have_count(2)
    assert "80" in items.nth(0).inner_text()
    assert "64" in items.nth(1).inner_text()
    beside = page.locator("#history .beside")
    expect(beside).to_have_count(1)  # the one that is shown has none
    beside.click()
    pictures = page.locator("#result .pair img")
    expect(pictures).to_have_count(2)
    expect(pictures.nth(0)).to_have_js_property("naturalWidth", 80)
    expect(pictures.nth(1)).to_have_js_property("naturalWidth", 64)
    one, two = pictures.nth(0).bounding_box(), pictures.nth(1).bounding_box()
    assert one["y"] == two["y"]
    assert one["x"] + one["width"] <= two["x"]
    page.keyboard.press("r")  # real pixels are of one painting
    expect(beside).to_have_attribute("aria-pressed", "true")
    beside.click()
    expect(page.locator("#result .compared img").first).to_have_js_property("naturalWidth", 80)
    expect(page.locator("#result .pair")).to_have_count(0)
    items.nth(1).locator(".pick").click()
    expect(page.locator("#result img").first).to_have_js_property("naturalWidth", 64)
    expect(page.locator("#setting-size input")).to_have_value("64")
    archive = take_home(page, "Download all", tmp_path)
    with zipfile.ZipFile(archive) as found:
        assert sorted(found.namelist()) == ["photo-style-2.png", "photo-style.png"]
        assert found.testzip() is None
    close_at_the_next_event(page)
    items.nth(1).locator(".delete").click()
    expect(items).to_have_count(1)
    assert "80" in items.nth(0).inner_text()


@pytest.mark.slow
def test_two_visitors_take_turns_and_see_nothing_of_each_other(open_page, place) -> None:
    one, two = open_page(), open_page()
    settle(one, 96, LONG)
    one.click("#paint")
    frames_of(one, 1)
    two.click("#paint")
    shows(two, "In the queue: 1 painting comes first.")
    one.click("#stop")
    shows(one, "Stopped")
    shows(two, "Done")
    for page in (one, two):
        expect(page.locator("#history li")).to_have_count(1)
    ids = [
        re.search(r"paintings/([^/]+)/", page.locator("#result a").first.get_attribute("href"))[1]
        for page in (one, two)
    ]
    assert ids[0] != ids[1]
    assert ids[0] not in two.content()


def test_all_styles_are_tried_and_one_is_chosen(open_page, place, photo, style, tmp_path) -> None:
    page = open_page(filled=False)
    mine = tmp_path / "mine.png"
    shutil.copy(photo, mine)
    upload(page, "content", mine)
    upload(page, "style-1", style)
    settle(page, 64, 4)
    page.get_by_role("button", name="Try all styles").click()
    shows(page, "Choose a picture to paint in its style.")
    chosen = page.locator("#result .cells button")
    expect(chosen).to_have_count(7)  # the visitor's, and the six of the package
    names = ["style", "strokes", "woodcut", "glass", "points", "watercolor", "facets"]
    assert [text.strip() for text in chosen.all_inner_texts()] == names
    for picture in page.locator("#result .cells img").all():
        expect(picture).to_have_js_property("complete", True)
    for width in (1300, 800, 390):
        page.set_viewport_size({"width": width, "height": 1000})
        assert not findings(page)
    page.reload()
    expect(chosen).to_have_count(7)
    expect(page.locator("#setting-size input")).to_have_value("64")
    page.get_by_role("button", name="Paint in the style glass").click()
    painted = page.locator("#result .compared img").first
    expect(painted).to_have_js_property("naturalWidth", 64, timeout=15_000)
    assert last_job(place).styles == ["glass.jpg"]
    assert last_job(place).content == mine.name
    expect(page.locator("#history li")).to_have_count(2)
    page.get_by_role("button", name=re.compile("all styles")).first.click()
    expect(chosen).to_have_count(7)


@pytest.mark.slow  # its quick kin is in test_sheets.py
def test_a_sheet_is_stopped_and_keeps_what_there_is(open_page, place, monkeypatch) -> None:
    monkeypatch.setattr("impasto.painting.sheet.TOGETHER", 1)
    monkeypatch.setitem(QUICK, "steps", 4000)
    page = open_page()
    page.click("#try-all")
    shows(page, "Trying all styles")
    expect(page.locator("#preview")).to_contain_text("0 of 7 styles")
    page.click("#stop")
    shows(page, "Cancelled")  # nothing was finished yet
    assert last_job(place).state == "cancelled"


def test_a_clip_is_tried_and_becomes_a_film(open_page, clip, place, tmp_path) -> None:
    page = open_page()
    unfold(page, "A film")
    page.locator("#clip input[type=file]").set_input_files(clip)
    expect(page.locator("#about-clip")).to_contain_text("3 frames, 0.1 s, 64 × 48 pixels.")
    unfold(page, "How the film is painted")
    page.wait_for_timeout(300)
    for name, value in (("steps", "3"), ("later", str(LONG))):
        page.locator(f"#film-{name} input").fill(value)
        page.keyboard.press("Tab")
    page.click("#film-three")
    expect(page.locator("#result img.three")).to_be_visible()
    page.click("#film-paint")
    expect(page.locator("#preview")).to_contain_text("frame 2/3")
    page.reload()
    expect(page.locator("#preview")).to_contain_text("frame 2/3")
    page.click("#stop")
    shows(page, "Stopped after 1 of 3 frames")
    film = page.locator("#result video")
    expect(film).to_be_visible()
    page.wait_for_function("document.querySelector('#result video').videoWidth == 64")
    assert not findings(page)
    assert take_home(page, "MP4", tmp_path).name == "walk-style.mp4"
    expect(page.locator("#history li")).to_have_count(2)
    unfold(page, "A film")
    expect(page.locator("#clip")).to_contain_text("walk")  # it need not be uploaded again
    expect(page.locator("#clip")).to_contain_text("mp4")
    page.reload()
    expect(film).to_be_visible()
    expect(page.locator("#style-1 img").first).to_be_visible()
    page.wait_for_timeout(1500)  # a quick look would take its place
    expect(film).to_be_visible()
    unfold(page, "A film")
    page.get_by_role("button", name=re.compile("three frames")).first.click()
    expect(page.locator("#result img.three")).to_be_visible()


@pytest.mark.slow
def test_a_page_that_is_opened_again_finds_painting_and_history(open_page, place) -> None:
    page = open_page()
    page.click("#paint")
    shows(page, "Done")
    settle(page, 96, LONG)
    page.click("#paint")
    frames_of(page, 1)
    visitor = page.context
    page.close()
    again = visitor.new_page()
    again.goto(place.url)
    assert len(frames_of(again, 2)) == 2
    expect(again.locator("#history li")).to_have_count(1)
    again.click("#stop")
    shows(again, "Stopped after")
    expect(again.locator("#history li")).to_have_count(2)
    again.reload()
    expect(again.locator("#result img").first).to_be_visible()


@pytest.mark.slow
def test_the_painting_is_shown_again_after_a_lost_connection(open_page, place) -> None:
    page = open_page()
    settle(page, 96, LONG)
    page.click("#paint")
    frames_of(page, 1)
    page.context.set_offline(True)
    page.wait_for_timeout(1000)
    page.context.set_offline(False)
    page.wait_for_timeout(7000)
    assert len(frames_of(page, 2)) == 2
    page.click("#stop")
    shows(page, "Stopped")


def test_an_answer_is_shown_though_the_connection_closed_when_it_was_asked_for(open_page) -> None:
    page = open_page(filled=False)
    close_at_the_next_event(page)
    page.click("#paint")
    shows(page, "Drop a photograph in first")


def close_at_the_next_event(page) -> None:
    """Close gradio's connection when the next event begins, as an idle one may happen to be."""
    busy = re.compile(r"\d\.\ds")  # with the events of a page that was just opened
    expect(page.locator("#status")).not_to_contain_text(busy)
    page.wait_for_timeout(500)
    closing = 'data: {"msg": "close_stream"}\n\n'
    page.route(
        "**/queue/data*",
        lambda route: route.fulfill(content_type="text/event-stream", body=closing),
        times=1,
    )


@pytest.mark.slow
def test_too_large_an_upload_is_told(open_page, tmp_path) -> None:
    page = open_page()
    huge = tmp_path / "huge.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (900, 900, 3), dtype=np.uint8)).save(
        huge
    )
    page.get_by_role("button", name="Remove Image").first.click()
    page.locator("#content input[type=file]").set_input_files(huge)
    expect(page.get_by_text(re.compile("maximum allowed size", re.IGNORECASE))).to_be_visible()


def test_a_picture_that_is_missing_or_corrupt_is_told_and_can_be_put_right(
    open_page, tmp_path, photo, style
) -> None:
    page = open_page(filled=False)
    page.click("#paint")
    shows(page, "Drop a photograph in first")
    broken = tmp_path / "broken.png"
    broken.write_bytes(photo.read_bytes()[:100])
    page.locator("#content input[type=file]").set_input_files(broken)
    told = page.get_by_test_id("toast-body").filter(has_text="broken.png")
    expect(told).to_be_visible()
    assert "/tmp" not in told.inner_text()
    expect(page.locator("#content img")).to_have_count(0)
    upload(page, "content", photo)
    page.click("#paint")
    shows(page, "Drop a painting in first")
    upload(page, "style-1", style)
    page.click("#paint")
    shows(page, "Done")


@pytest.mark.slow
def test_a_setting_out_of_range_is_told_by_its_label(open_page) -> None:
    page = open_page()
    unfold(page, "All settings", "Objective")
    page.locator("#setting-style_layers textarea").fill("relu9_1")
    page.click("#paint")
    shows(page, "relu9_1")
    choose(page, "size", "3")
    page.locator("#setting-style_layers textarea").fill("relu1_1")
    page.click("#paint")
    shows(page, "“Size” is '3'")


def test_the_first_look_is_a_finished_example(open_page) -> None:
    page = open_page(filled=False)
    page.emulate_media(reduced_motion="no-preference")
    pictures = "[...document.querySelectorAll('#preview .example img')]"
    page.wait_for_function(f"{pictures}.length > 1 && {pictures}.every(e => e.naturalWidth > 500)")
    moving = "e => getComputedStyle(e).animationName"
    assert page.locator(".example .before").evaluate(moving) == "becomes-a-painting"
    page.emulate_media(reduced_motion="reduce")
    assert page.locator(".example .before").evaluate(moving) == "none"
    looks = page.locator("#setting-look")
    expect(looks).to_contain_text("Subtle")
    order = [page.locator(f"#{name}").bounding_box()["y"] for name in CONTROLS]
    assert order == sorted(order)


@pytest.mark.slow
def test_an_example_is_a_click_away(open_page) -> None:
    page = open_page(filled=False)
    page.get_by_role("button", name="Example: lake").click()
    page.get_by_role("button", name="Example: woodcut").click()
    for where in ("content", "style-1"):
        expect(page.locator(f"#{where} img").first).to_be_visible()
    settle(page, 64, 3)
    page.click("#paint")
    shows(page, "Done")


@pytest.mark.slow
def test_an_earlier_painting_restores_its_settings(open_page, place, tmp_path) -> None:
    page = open_page()
    page.get_by_label("of the photo", exact=True).check()
    page.click("#paint")
    shows(page, "Done")
    painting = take_home(page, "WebP", tmp_path)
    for where in ("earlier", "content"):
        again = open_page(filled=False)
        if where == "earlier":
            unfold(again, "All settings")
        again.locator(f"#{where} input[type=file]").set_input_files(painting)
        expect(again.get_by_label("of the photo", exact=True)).to_be_checked()
        expect(again.locator("#setting-size input")).to_have_value("64")


@pytest.mark.slow
def test_a_preset_sets_the_controls(open_page) -> None:
    page = open_page(filled=False)
    unfold(page, "All settings")
    page.locator("#preset input").click()
    page.get_by_role("option", name="noise-start").click()
    unfold(page, "Solver")
    expect(page.locator("#setting-start textarea, #setting-start input").first).to_have_value(
        "noise"
    )
    expect(page.get_by_text("which is not on this server")).to_be_visible()


@pytest.mark.slow
def test_several_styles_are_blended_by_their_shares(open_page, place, photo) -> None:
    page = open_page()
    unfold(page, "More styles")
    upload(page, "style-2", photo)
    page.get_by_label("number input for Share of style 2").fill("0.25")
    page.keyboard.press("Tab")
    page.click("#paint")
    shows(page, "Done")
    job = last_job(place)
    assert (job.config.blend, job.styles) == ((1.0, 0.25), ["style.png", "photo.png"])


@pytest.mark.slow
def test_parts_are_drawn_on_the_photograph(open_page, place, photo) -> None:
    page = open_page()
    unfold(page, "More styles", "Parts of the photograph")
    upload(page, "style-2", photo)
    page.locator("#brush").scroll_into_view_if_needed()
    for k, height in ((0, 0.4), (1, 0.6)):
        if k:
            page.locator("#brush").get_by_label("Color").click()
            page.locator("#brush button.color").nth(k).click()
            page.locator("#brush").get_by_label("Brush", exact=True).click()
        blank_content = page.locator("#brush canvas").first.bounding_box()
        x, y = (
            blank_content["x"] + blank_content["width"] / 2,
            blank_content["y"] + blank_content["height"] * height,
        )
        page.mouse.move(x - 30, y)
        page.mouse.down()
        page.mouse.move(x + 30, y, steps=8)
        page.mouse.up()
    page.wait_for_timeout(500)
    page.click("#paint")
    shows(page, "Done")
    config = last_job(place).config
    assert config.protect == "protect"
    assert config.mask == ("where style 2=style 2",)


def test_a_mask_is_uploaded_and_comes_back_with_the_painting(
    open_page, place, photo, tmp_path
) -> None:
    page = open_page()
    unfold(page, "More styles", "Parts of the photograph")
    upload(page, "style-2", photo)
    white = tmp_path / "white.tif"
    mask = Image.new("L", (40, 30))
    mask.paste(255, (0, 0, 20, 30))
    mask.save(white)
    upload(page, "mask", white)
    assert findings(page) == []
    page.get_by_label("is painted as style 2", exact=True).check()
    page.get_by_label("Protect the subject").check()
    page.click("#paint")
    shows(page, "Done")
    job = last_job(place)
    assert job.config.mask == ("where style 2=style 2",)
    assert job.config.protect == "auto"
    assert job.kept_named("where style 2").read() == white.read_bytes(), "not the one that is shown"
    page.reload()
    shows(page, "Done")
    unfold(page, "More styles", "Parts of the photograph")
    for where in ("mask", "style-1", "style-2"):
        expect(page.locator(f"#{where} img").first).to_be_visible()
    expect(page.get_by_label("is painted as style 2", exact=True)).to_be_checked()
    expect(page.get_by_label("Protect the subject")).to_be_checked()


@pytest.mark.slow  # its quick kin is the mask above, a TIFF
def test_a_picture_that_browsers_do_not_show_is_converted_for_the_page(
    open_page, place, photo, tmp_path
) -> None:
    page = open_page()
    tiff = tmp_path / "photo.tif"
    with Image.open(photo) as image:
        image.save(tiff)
    page.get_by_role("button", name="Remove Image").first.click()
    page.locator("#content input[type=file]").set_input_files(tiff)
    shown = page.locator("#content img").first
    page.wait_for_function("document.querySelector('#content img')?.naturalWidth > 0")
    assert shown.get_attribute("src").endswith("picture.png")
    page.click("#paint")
    shows(page, "Done")
    assert last_job(place).content == "photo.tif"
    assert last_job(place).kept_input(0).read() == tiff.read_bytes()


def test_a_change_shows_a_quick_look_until_it_is_painted(open_page, place) -> None:
    page = open_page()
    look = page.locator("#preview .look")
    expect(look).to_be_visible()
    page.wait_for_timeout(1000)
    before = look.get_attribute("src")
    page.get_by_label("only light and dark", exact=True).check()
    page.wait_for_function("before => document.querySelector('.look')?.src !== before", arg=before)
    page.click("#paint")
    shows(page, "Done")
    assert last_job(place).config.color == "luminance"
    page.wait_for_timeout(500)
    expect(page.locator("#result img").first).to_be_visible()
    expect(look).to_have_count(0)


@pytest.mark.slow
def test_the_page_works_with_the_keyboard_alone(open_page) -> None:
    page = open_page()
    page.locator("#setting-size input").focus()
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "paint":
            break
    page.keyboard.press("Enter")
    shows(page, "Done")
    for wanted in ("PNG", "JPEG", "WebP"):
        for _ in range(12):
            if page.evaluate("document.activeElement.innerText") == wanted:
                break
            page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.innerText") == wanted


@pytest.mark.parametrize(
    "look",
    [
        {},
        pytest.param({"viewport": {"width": 390, "height": 844}}, marks=pytest.mark.slow),
        pytest.param({"color_scheme": "dark"}, marks=pytest.mark.slow),
    ],
    ids=["wide", "phone", "dark"],
)
def test_axe_finds_nothing_serious(open_page, look) -> None:
    page = open_page(**look)
    assert findings(page) == []
    # the brush takes seconds to draw without a graphics card; the test of a mask unfolds it, too
    unfold(page, "More styles", *(["Parts of the photograph"] if look else []))
    unfold(page, "All settings", "Picture", "Network", "Objective", "Other pictures")
    page.wait_for_timeout(300)
    assert findings(page) == []
    settle(page, 96, LONG)
    page.click("#paint")
    frames_of(page, 1)
    assert findings(page) == []
    page.click("#stop")
    shows(page, "Stopped")
    assert findings(page) == []
    page.locator("#setting-size input").fill("3")
    page.keyboard.press("Enter")
    page.click("#paint")
    shows(page, "“Size” is")
    assert findings(page) == []


def test_the_first_look_on_a_phone_fits(open_page) -> None:
    page = open_page(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    box = page.locator("#paint").bounding_box()
    assert box["y"] + box["height"] <= 844, "the button that begins is in sight"
    page.locator("#paint").tap()
    shows(page, "Done")
    page.wait_for_timeout(800)
    assert page.locator("#status").bounding_box()["y"] < 844, "the page went to where it is painted"


@pytest.mark.slow  # its quick kin are the controls of test_controls.py
def test_every_control_says_what_the_command_line_says(open_page) -> None:
    page = open_page()
    unfold(page, "All settings", "Picture", "Network", "Objective", "Solver")
    for name in ("strength", "style_scale", "tv_weight", "padding", "history"):
        text = re.sub(r"--[a-z-]+", "", Config.model_fields[name].description)
        expect(page.locator(f"#setting-{name}")).to_contain_text(text[:40])
