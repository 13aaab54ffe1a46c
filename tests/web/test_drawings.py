"""What pages send of their drawings is kept within bounds."""

import asyncio
from types import SimpleNamespace

import gradio as gr
import pytest
from fastapi import HTTPException

from impasto.web.page import drawings
from impasto.web.page.drawings import LatestDrawings, check_layer


@pytest.fixture
def editor(tmp_path, monkeypatch) -> gr.ImageEditor:
    monkeypatch.setattr(drawings, "MOST_LAYER", 1000)
    monkeypatch.setattr(drawings, "MOST_HELD", 5000)

    async def make() -> gr.ImageEditor:  # without a loop gradio begins some, and leaves them open
        with gr.Blocks():
            return gr.ImageEditor()

    editor = asyncio.run(make())
    drawings._bound(editor, tmp_path)
    return editor


def send(
    editor: gr.ImageEditor, id: str, size: int = 1000, kind: str = "layer", index: str = "0"
) -> None:
    data = {"type": kind, "index": index, "id": id}
    editor.accept_blobs(SimpleNamespace(data=data, files=[("blob", bytes(size))]))


@pytest.mark.parametrize("kind", ["background", "composite"])
def test_blobs_that_are_no_layers_are_dropped(editor, kind) -> None:
    for index in ("null", "None", ""):
        send(editor, "one", kind=kind, index=index)
    assert not editor.blob_storage


def test_a_layer_is_kept_and_found(editor) -> None:
    send(editor, "one", index="1")
    assert [layer and len(layer) for layer in editor.blob_storage["one"].layers] == [None, 1000]


@pytest.mark.parametrize("index", ["+3", " 3", "3_0", "-1", "4", "30000000", "null", "\u0663"])
def test_another_layer_than_the_few_is_refused(editor, index) -> None:
    with pytest.raises(HTTPException) as refused:
        send(editor, "one", index=index)
    assert refused.value.status_code == 422
    assert not editor.blob_storage


def test_a_large_layer_is_refused(editor) -> None:
    with pytest.raises(HTTPException) as refused:
        send(editor, "one", 1001)
    assert refused.value.status_code == 413
    assert not editor.blob_storage


def test_the_oldest_drawing_goes_where_all_hold_too_many_bytes(editor) -> None:
    for k in range(6):
        send(editor, f"{k}")
    send(editor, "1", index="1")
    assert list(editor.blob_storage) == ["3", "4", "5", "1"]


def test_the_number_of_drawings_is_limited(editor) -> None:
    for k in range(60):
        send(editor, f"{k}", 1)
    assert list(editor.blob_storage) == [str(k) for k in range(10, 60)]


def test_the_bounds_leave_room_for_what_a_page_sends() -> None:
    check_layer("3", bytes(4 * 768 * 768))  # uncompressed
    assert LatestDrawings() == {}
    assert drawings.MOST_HELD < 100_000_000
