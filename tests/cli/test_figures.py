import json
import math

import numpy as np
import pytest
from PIL import Image, ImageDraw

from impasto.backbone.architecture import LAYERS, VGG19
from impasto.backbone.load import load_backbone
from impasto.backbone.weights import load
from impasto.config import Config
from impasto.figures import plots
from impasto.figures.contact_sheet import PAPER
from impasto.figures.plots import CONTENT, STYLE_MARK, write_plot
from impasto.images.read import read, read_settings, resize
from impasto.images.write import to_image, write
from impasto.painting.experiments import feature_maps
from impasto.painting.levels import painted_size
from impasto.presets import PRESETS
from machines import EXACT

NB = "\u00a0"  # a space that does not break


def test_the_losses_are_written_as_a_table(impasto, photo, style, tiny, tmp_path):
    for name, steps in (("one", 3), ("two", 2)):
        given = ("--trace", f"{name}.jsonl", "--steps", steps)
        assert impasto("paint", photo, style, "-o", f"{name}.png", *tiny, *given)[0] == 0
    assert impasto("curves", "one.jsonl", "two.jsonl", "-o", "losses.csv")[1] == "losses.csv\n"
    rows = [line.split(",") for line in (tmp_path / "losses.csv").read_text().splitlines()]
    assert rows[0][:4] == ["run", "step", "level", "objective"]
    assert [row[:3] for row in rows[1:]] == [
        [name, str(k), "1"] for name, steps in (("one", 3), ("two", 2)) for k in range(1, steps + 1)
    ]
    assert sum(map(float, rows[1][4:])) == pytest.approx(float(rows[1][3]), rel=1e-4)


@pytest.fixture
def drawn(monkeypatch):
    """The matplotlib figures that are written from here on."""
    found = []

    def write_it(figure, path):
        found.append(figure)
        return write_plot(figure, path)

    monkeypatch.setattr(plots, "write_plot", write_it)
    return found


@pytest.fixture
def refused(impasto, tmp_path):
    """Runs a command that must fail with one line and write nothing; gives that line."""

    def run(*arguments: object) -> str:
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
        code, out, err = impasto(*arguments)
        assert (code, out) == (2, "")
        assert err.startswith("impasto: ")
        assert err.count("\n") == 1
        assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
        return err

    return run


@pytest.fixture
def snapshots(impasto, photo, style, tiny):
    """Four snapshots of a run of four steps, and its painting out.png: the last of them was the
    best."""
    options = [*tiny, "--steps", 4, "--optimizer", "adam", "--start", "noise", "--save-every", 1]
    options += ["--learning-rate", 0.005]  # small steps: each is better than the one before
    assert impasto("paint", photo, style, "-o", "out.png", *options)[0] == 0
    return [f"out-{k:05}.png" for k in range(1, 5)]


def as_step(source, path, step, **more):
    """The picture `source` as a snapshot of another step."""
    write(Image.open(source), path, {**read_settings(source), "steps_done": step, **more})
    return path


def captions(rows):
    return [caption for row in rows for _, caption in row]


def test_grid_shows_the_snapshots_by_step_with_their_terms(impasto, sheets, snapshots):
    one, two, three, four = snapshots
    assert impasto("grid", three, one, four, two) == (0, "grid.png\n", "")
    cells = [cell for row in sheets[0] for cell in row]
    for (image, caption), path, step in zip(cells, snapshots, range(1, 5), strict=True):
        terms = read_settings(path)["terms"]
        style = sum(value for name, value in terms.items() if name.startswith("style"))
        shown = {"content": terms["content relu4_2"], "style": style}
        shown |= {name: terms[name] for name in ("grain", "flatness")}
        words = ", ".join(f"{name}{NB}{value:.2g}" for name, value in shown.items())
        assert caption == f"step{NB}{step}\n{words}"
        np.testing.assert_array_equal(np.asarray(image), np.asarray(Image.open(path)))


def test_grid_is_a_sheet_of_all_its_pictures(impasto, snapshots, tmp_path):
    assert impasto("grid", *snapshots, "-o", "grid.png", "--columns", 2)[0] == 0
    values = np.asarray(Image.open(tmp_path / "grid.png"))
    width = round(32 / 27 * 320)  # each picture is 320 pixels high
    assert values.shape[1] == 16 + width + 16 + width + 16
    bottoms = len(values) // 2
    for k, name in enumerate(snapshots):
        top, left = (16, bottoms + 8)[k // 2], 16 + k % 2 * (width + 16)
        image = Image.open(tmp_path / name).resize((width, 320), Image.Resampling.LANCZOS)
        np.testing.assert_array_equal(
            values[top : top + 320, left : left + width], np.asarray(image)
        )
    assert (values[:, 16 + width : 32 + width] == PAPER).all()


def test_grid_shows_the_painting_and_the_same_last_snapshot_once(
    impasto, sheets, snapshots, tmp_path
):
    last, painting = (
        np.asarray(Image.open(tmp_path / name)) for name in (snapshots[-1], "out.png")
    )
    np.testing.assert_array_equal(last, painting)
    assert impasto("grid", "out.png", *snapshots)[0] == 0
    assert [each.split("\n")[0] for each in captions(sheets[0])] == [
        f"step{NB}{k}" for k in range(1, 5)
    ]


def test_grid_says_that_pictures_are_of_different_runs(impasto, sheets, snapshots):
    config = read_settings(snapshots[1])["config"]
    as_step(snapshots[1], "other.png", 7, config={**config, "strength": 3.0})
    code, _, err = impasto("grid", *snapshots, "other.png")
    assert (code, err) == (0, "impasto: these pictures are of 2 different runs\n")


@pytest.mark.parametrize(("typed", "shown"), [("4,1", [4, 1]), (" 2 , 3", [2, 3]), ("3", [3])])
def test_grid_takes_steps_in_the_order_typed(impasto, sheets, snapshots, typed, shown):
    assert impasto("grid", *snapshots, "--steps", typed)[0] == 0
    assert [each.split("\n")[0] for each in captions(sheets[0])] == [f"step{NB}{k}" for k in shown]


@pytest.mark.parametrize(
    ("columns", "rows"), [(1, [1] * 4), (3, [3, 1]), (4, [4]), (20, [4]), (None, [2, 2])]
)
def test_grid_has_the_columns_asked_for(impasto, sheets, snapshots, columns, rows):
    assert impasto("grid", *snapshots, *(["--columns", columns] if columns else []))[0] == 0
    assert [len(row) for row in sheets[0]] == rows


def test_grid_of_far_steps_and_of_snapshots_without_terms(impasto, sheets, snapshots):
    as_step("out-00001.png", "late.png", 17000)
    as_step(
        "out-00001.png", "odd.png", 9000, terms={"content relu4_2": None, "style relu1_1": 0.25}
    )
    as_step("out-00001.png", "old.png", 300, terms=None)
    assert impasto("grid", "late.png", "odd.png", "old.png")[0] == 0
    old, odd, late = captions(sheets[0])
    assert (old, odd) == (f"step{NB}300", f"step{NB}9,000\nstyle{NB}0.25")
    assert late.startswith(f"step{NB}17,000\ncontent{NB}")


def test_grid_is_the_same_bytes_again(impasto, snapshots, tmp_path):
    for name in ("one.png", "two.png"):
        assert impasto("grid", *snapshots, "-o", name)[0] == 0
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_grid_keeps_what_is_transparent_in_a_snapshot(impasto, sheets, snapshots, tmp_path):
    image = Image.open(tmp_path / snapshots[0])
    image.putalpha(77)
    write(image, tmp_path / "clear.png", read_settings(tmp_path / snapshots[0]))
    assert impasto("grid", "clear.png")[0] == 0
    assert (np.asarray(sheets[0][0][0][0])[..., 3] == 77).all()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--steps", "1,7"], "no snapshot of step 7: there are 1, 2, 3, 4"),
        (["--steps", "one"], "no snapshot of step one: there are 1, 2, 3, 4"),
        (["--steps", ""], "there are 1, 2, 3, 4"),
        (["-o", "grid.svg"], "grid.svg has no figure's suffix: choose from .png"),
        (
            ["-o", "out-00002.png"],
            "out-00002.png is one of the files to draw from: give another name",
        ),
        (["-o", "./out-00002.png"], "is one of the files to draw from"),
        (["--columns", "0"], "0 is not in the range"),
        (["photo.png"], "photo.png carries no settings"),
        (["missing.png"], "no picture at missing.png"),
        (["."], "is a folder"),
        (["stepless.png"], "stepless.png carries no settings"),
    ],
)
def test_what_grid_cannot_do_is_told_in_one_line(
    refused, snapshots, photo, tmp_path, arguments, said
):
    Image.open(photo).save(tmp_path / "photo.png")
    as_step(tmp_path / snapshots[0], tmp_path / "stepless.png", "some")
    assert said in refused("grid", *snapshots, *arguments)


def test_grid_of_too_many_snapshots_asks_for_a_choice(refused, impasto, sheets, snapshots):
    many = [as_step(snapshots[0], f"s{k}.png", k) for k in range(1, 62)]
    assert "61 snapshots are too many for one grid: choose up to 60 with --steps" in refused(
        "grid", *many
    )
    assert impasto("grid", *many, "--steps", "61,1")[0] == 0
    assert len(captions(sheets[0])) == 2


ROW = {
    "step": 1,
    "level": 1,
    "seconds": 0.1,
    "evaluations": 1,
    "objective": 3.0,
    "terms": {"content": 1.0, "tv": 2.0},
}


def trace(path, *rows, end=""):
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps({**ROW, **row}) + "\n" for row in rows) + end)


def lines(axes):
    """A panel's curves by name: steps and values."""
    curved = [line for line in axes.lines if not line.get_label().startswith("_child")]
    return {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in curved}


def test_curves_are_those_of_the_trace(impasto, drawn, photo, style, tiny, tmp_path):
    assert (
        impasto(
            "paint", photo, style, "-o", "out.png", *tiny, "--steps", 5, "--trace", "my-run.jsonl"
        )[0]
        == 0
    )
    assert impasto("curves", "my-run.jsonl") == (0, "curves.png\n", "")
    rows = [json.loads(line) for line in (tmp_path / "my-run.jsonl").read_text().splitlines()]
    [figure] = drawn
    left, right = figure.axes
    assert figure.get_suptitle() == "my-run"
    assert lines(left)["objective"] == ([1, 2, 3, 4, 5], [row["objective"] for row in rows])
    assert set(lines(right)) == set(rows[0]["terms"])
    for name, (steps, values) in lines(right).items():
        assert steps == [1, 2, 3, 4, 5]
        np.testing.assert_array_equal(values, [row["terms"][name] or math.nan for row in rows])
    with Image.open(tmp_path / "curves.png") as plot:
        assert plot.width == 1600


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a/run.jsonl", "b/run.jsonl"], ["a/run", "b/run"]),
        (["a/run.jsonl", "b/other.jsonl"], ["run", "other"]),
    ],
)
def test_curves_of_several_runs_have_distinct_names(impasto, drawn, tmp_path, paths, names):
    for k, path in enumerate(paths, 1):
        trace(tmp_path / path, {"objective": k}, {"step": 2, "objective": k / 2})
    assert impasto("curves", *paths, "-o", "both.svg") == (0, "both.svg\n", "")
    objective = drawn[0].axes[0]
    assert lines(objective) == {names[0]: ([1, 2], [1, 0.5]), names[1]: ([1, 2], [2, 1])}
    assert (tmp_path / "both.svg").read_text().startswith("<?xml")


def test_traces_that_differ_in_their_suffix_alone_have_distinct_names(impasto, drawn, tmp_path):
    for name in ("run.jsonl", "run.json"):
        trace(tmp_path / name, {}, {"step": 2})
    assert impasto("curves", "run.jsonl", "run.json")[0] == 0
    assert len(lines(drawn[0].axes[0])) == 2


@pytest.mark.parametrize("line", ["{", '{"step": 2}', json.dumps({**ROW, "step": math.inf})])
def test_a_line_that_is_no_step_is_told_with_its_number(refused, tmp_path, line):
    trace(tmp_path / "run.jsonl", {}, end=f"{line}\n")
    assert "run.jsonl is not a trace: line 2 is not a step of --trace" in refused(
        "curves", "run.jsonl"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.jsonl"], "no trace at missing.jsonl"),
        (["empty.jsonl"], "empty.jsonl is a trace without a step"),
        (["picture.png"], "picture.png cannot be read as a trace: it is not text"),
        (["."], "cannot be read as a trace"),
        (["run.jsonl", "missing.jsonl"], "no trace at missing.jsonl"),
        (
            ["run.jsonl", "-o", "curves.jpg"],
            "curves.jpg has no plot's suffix: choose from .png, .svg",
        ),
        (["run.jsonl", "-o", "no/curves.png"], "no folder no to write curves.png into"),
        ([], "Missing argument"),
    ],
)
def test_what_curves_cannot_draw_is_told_in_one_line(refused, photo, tmp_path, arguments, said):
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "picture.png").write_bytes(photo.read_bytes())
    trace(tmp_path / "run.jsonl", {})
    assert said in refused("curves", *arguments)


@pytest.fixture
def look(tiny_weights):
    """Options that make `features` quick."""
    return f"--backbone {tiny_weights} --size 32 --device cpu --precision float32".split()


def test_features_show_the_strongest_channels_of_the_preset_s_layers(
    impasto, sheets, look, tiny_weights, photo
):
    assert impasto("features", photo, *look) == (0, "features.png\n", "")
    (shown, explained), *rows = sheets[0]
    layers = ["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu4_2", "relu5_1"]
    config = Config(backbone=str(tiny_weights), size=32)
    pixels = resize(read(photo).pixels, *painted_size(read(photo), config))
    assert shown[1] == "photo.png\n32 × 27 pixels"
    np.testing.assert_array_equal(np.asarray(shown[0]), np.asarray(to_image(pixels)))
    assert "tiny.safetensors sees" in explained[0]
    for row, found in zip(
        rows, feature_maps(pixels, layers, load_backbone(config, EXACT)), strict=True
    ):
        *maps, (matrix, named) = row
        channels = len(found.gram)
        assert [caption for _, caption in maps] == [
            f"{found.layer}\nchannel {k}" for k in found.channels
        ]
        assert len(maps) == min(6, channels)
        assert named == f"Gram matrix\n{channels} × {channels}"
        values = np.asarray(matrix)
        cells = values.reshape(channels, 480 // channels, channels, 480 // channels, 3)
        assert (cells == cells[:, :1, :, :1]).all()  # in squares, not blurred
        for (image, _), features in zip(maps, found.maps, strict=True):
            shades = np.asarray(image)
            assert shades.shape == (27, 32, 3)
            assert len(np.unique(shades)) <= features.size
            if features.max() > features.min():
                assert (shades.min(), shades.max()) == (0, 255)


@pytest.mark.parametrize(
    ("options", "layers"),
    [
        (["--layers", "conv1_2, block4_conv2"], ["conv1_2", "conv4_2"]),
        (["--layers", "RELU2_2"], ["relu2_2"]),
        (
            ["--preset", "layered"],
            ["conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv4_2", "conv5_1"],
        ),
        (
            ["--preset", "keras-tv"],
            ["conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1", "conv5_2"],
        ),
    ],
)
def test_features_shows_the_layers_asked_for(impasto, sheets, look, photo, options, layers):
    assert impasto("features", photo, *look, *options, "-o", "seen.jpg") == (0, "seen.jpg\n", "")
    assert [row[0][1].split("\n")[0] for row in sheets[0][1:]] == layers


@pytest.mark.parametrize("size", [(300, 450), (300, 300), (450, 300), (600, 200)])
def test_the_words_over_the_features_are_there_to_their_end(impasto, monkeypatch, tmp_path, size):
    written, write_text = [], ImageDraw.ImageDraw.text
    monkeypatch.setattr(
        ImageDraw.ImageDraw,
        "text",
        lambda *given, **more: (written.append(given[2]), write_text(*given, **more)),
    )
    Image.effect_noise(size, 80).convert("RGB").save(tmp_path / "photo.png")
    assert (
        impasto(
            "features", "photo.png", "--size", 64, "--precision", "float32", "--layers", "relu1_1"
        )[0]
        == 0
    )
    assert "which channels are strong together, is the style." in " ".join(written)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give a PICTURE to look at: impasto features photo.jpg; or --network"),
        (["missing.png"], "no picture at missing.png"),
        (["photo.png", "--layers", "relu9_1"], "no layer 'relu9_1' in VGG-19"),
        (["photo.png", "--layers", ""], "--layers is empty: name at least one, as conv4_2"),
        (["photo.png", "--layers", " , "], "--layers is empty"),
        (["photo.png", "--preset", "defalt"], "no preset 'defalt': did you mean default?"),
        (["photo.png", "-o", "seen.svg"], "seen.svg has no figure's suffix"),
        (["photo.png", "-o", "photo.png"], "photo.png is one of the files to draw from"),
        (["thin.png"], "at least 16 x 16 are needed"),
        (["--network", "-o", "net.jpg"], "net.jpg has no plot's suffix: choose from .png, .svg"),
    ],
)
def test_what_features_cannot_show_is_told_in_one_line(
    refused, look, photo, tmp_path, arguments, said
):
    (tmp_path / "photo.png").write_bytes(photo.read_bytes())
    Image.new("RGB", (600, 20)).save(tmp_path / "thin.png")
    assert said in refused("features", *arguments, *look)


@pytest.mark.parametrize("name", PRESETS)
def test_the_network_is_drawn_for_every_preset_without_a_download(
    impasto, drawn, monkeypatch, tmp_path, name
):
    monkeypatch.setattr(
        "impasto.backbone.weights.download", lambda *_: pytest.fail("it began to download")
    )
    monkeypatch.setenv("IMPASTO_HOME", str(tmp_path))
    assert impasto("features", "--network", "--preset", name) == (0, "network.png\n", "")
    axes, config = drawn[0].axes[0], PRESETS[name].config
    assert axes.get_title() == f"{config.backbone}, as the preset {name} uses it"
    boxes = [
        text.get_text().split("\n") for text in axes.texts if text.get_text().startswith("conv")
    ]
    channels = {each[0]: int(each[1]) for each in boxes if len(each) == 2}
    if config.backbone == "compact":
        kernels = load("compact").kernels
        assert channels == {layer: len(kernel) for layer, (kernel, _) in kernels.items()}
    else:
        assert list(channels) == list(VGG19.convolutions)
        assert list(channels.values()) == [64] * 2 + [128] * 2 + [256] * 4 + [512] * 8
    for layers, color in ((config.content_layers, CONTENT), (config.style_layers, STYLE_MARK)):
        marked = [
            text.get_text().split(" × ")[0] for text in axes.texts if text.get_color() == color
        ]
        assert [each for each in marked if each in LAYERS] == sorted(layers, key=LAYERS.index)


def test_the_network_of_a_file_has_its_own_channels(impasto, drawn, look):
    assert impasto("features", "--network", *look, "-o", "net.svg") == (0, "net.svg\n", "")
    found = {text.get_text() for text in drawn[0].axes[0].texts}
    assert {"conv1_1\n4", "conv2_2\n4", "conv3_1\n8", "conv5_4\n8"} <= found


def test_grid_answers_to_its_first_name_and_help_tells_the_new_one(impasto, snapshots):
    assert impasto("progress", *snapshots)[0] == 0
    _, out, _ = impasto("--help")
    assert "  grid " in out
    assert "  progress " not in out
