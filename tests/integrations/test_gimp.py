"""GIMP's plug-in with a stand-in for GIMP and a real studio."""

import importlib.util
import json
from pathlib import Path

import pytest
from PIL import Image

import gimp_host
from gimp_host import Config, Gimp, GimpImage, GioFile, array
from studios import running

FOLDER = Path(__file__).parents[2] / "integrations"
QUICK = '{"size": 32, "steps": 3, "levels": 1}'


@pytest.fixture(scope="module")
def place(tiny_weights):
    with running(tiny_weights, steps=20_000) as place:
        yield place


@pytest.fixture
def plug_in(monkeypatch):
    gimp_host.install(monkeypatch)
    spec = importlib.util.spec_from_file_location("in_gimp", FOLDER / "gimp" / "impasto_studio.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(plug_in, place, style):
    """Runs the procedure on an image; its status and message."""

    def run(image: GimpImage, **answers: object) -> tuple[object, str]:
        (name,) = plug_in.Impasto().do_query_procedures()
        procedure = plug_in.Impasto().do_create_procedure(name)
        given = {"style": GioFile(str(style)), "studio": place.url, "settings": QUICK}
        assert procedure.arguments.keys() >= given.keys()
        values = Config({**procedure.arguments, **given, **answers})
        mode = Gimp.RunMode.NONINTERACTIVE
        return procedure.run(procedure, mode, image, [], values, None)

    return run


@pytest.fixture
def picture(photo):
    return Image.open(photo).convert("RGB")


def test_the_painting_is_a_new_layer_in_one_step_to_undo(run, place, picture):
    image = GimpImage(picture)
    assert run(image) == (Gimp.PDBStatusType.SUCCESS, "")
    layer, below = image.layers
    assert (layer.name, layer.offsets, layer.mask) == ("painted like style.png", (0, 0), None)
    assert layer.pixels.size == picture.size
    assert abs(array(layer.pixels.convert("RGB")) - array(picture)).mean() > 2
    assert below.pixels.convert("RGB").tobytes() == picture.tobytes()
    assert (image.groups, image.open) == ([["insert_layer"]], False)
    assert all(copy.deleted for copy in gimp_host.copies)
    assert not place.studio.jobs  # removed


def test_the_selection_is_the_mask_there_and_here(run, place, plug_in, picture, monkeypatch):
    sent, form = [], plug_in.multipart
    monkeypatch.setattr(plug_in, "multipart", lambda *given: sent.append(given) or form(*given))
    selection = Image.new("L", picture.size)
    selection.paste(255, (0, 0, 24, 40))
    image = GimpImage(picture, selection)
    assert run(image)[0] is Gimp.PDBStatusType.SUCCESS
    assert image.layers[0].mask.tobytes() == selection.tobytes()
    assert image.selection is selection
    ((fields, files),) = sent
    assert json.loads(fields["settings"])["protect"] == files[-1][1] == "not selected.png"


def test_what_is_sent_as_protected_is_opaque_outside_of_the_selection(plug_in, picture, tmp_path):
    selection = Image.new("L", picture.size)
    selection.paste(255, (0, 0, 24, 40))
    for image in (GimpImage(picture, selection), GimpImage(picture.convert("L"), selection)):
        (tmp_path / "sent.png").write_bytes(plug_in.not_selected(image))
        sent = Image.open(tmp_path / "sent.png")
        assert (
            sent.getchannel("A").point(lambda value: 255 - value).tobytes() == selection.tobytes()
        )
    assert plug_in.not_selected(GimpImage(picture)) is None
    everything = Image.new("L", picture.size, 255)
    assert plug_in.not_selected(GimpImage(picture, everything)) is None
    assert all(copy.deleted for copy in gimp_host.copies)


def test_the_progress_is_shown(run, picture):
    more = '{"size": 48, "steps": 60, "levels": 1}'
    assert run(GimpImage(picture), settings=more)[0] is Gimp.PDBStatusType.SUCCESS
    assert gimp_host.progress == sorted(gimp_host.progress)
    assert len(gimp_host.progress) >= 1
    assert any(text.endswith("of 60") for text in gimp_host.texts)


@pytest.mark.parametrize(
    ("answers", "line"),
    [
        ({"strength": 2000.0}, "strength=2000"),
        ({"settings": "steps=3"}, 'settings are not a JSON object, as {"levels": 2}'),
        ({"settings": '{"stepps": 3}'}, "stepps"),
        ({"style": None}, "no style: choose the file of a painting"),
        ({"style": GioFile("/nowhere/a.png")}, "/nowhere/a.png cannot be read: No such file"),
        ({"style": GioFile(__file__)}, "test_gimp.py"),
        ({"studio": "http://127.0.0.1:9"}, "start one with `impasto serve`"),
        ({"studio": "nonsense://"}, "no studio answers at nonsense://"),
        ({"studio": "http://["}, "Invalid IPv6 URL"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_and_nothing_changes(run, picture, answers, line):
    image = GimpImage(picture)
    status, message = run(image, **answers)
    assert status is Gimp.PDBStatusType.EXECUTION_ERROR
    assert line in message
    assert "\n" not in message
    assert len(image.layers) == 1
    assert not image.groups


def test_a_password_is_sent(tiny_weights, run, picture):
    with running(tiny_weights, auth="ann:s ecret") as place:
        host = place.url.removeprefix("http://")
        assert run(GimpImage(picture), studio=place.url)[0] is Gimp.PDBStatusType.EXECUTION_ERROR
        assert run(GimpImage(picture), studio=f"ann:s%20ecret@{host}") == (
            Gimp.PDBStatusType.SUCCESS,
            "",
        )


def test_both_plug_ins_have_the_same_client_and_need_no_package():
    texts = [
        (FOLDER / path).read_text()
        for path in ("gimp/impasto_studio.py", "krita/impasto_studio/__init__.py")
    ]
    one, other = (
        text[text.index("class StudioError") : text.index("def ", text.index("def doing") + 4)]
        for text in texts
    )
    assert one == other
    for text in texts:
        assert "import impasto" not in text
        assert "from impasto" not in text
