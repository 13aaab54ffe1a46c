import re

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from impasto.figures.contact_sheet import FAINT
from impasto.solver import learning_rate

NB = "\u00a0"  # a space that does not break
STOPPED = "stopped before this one"


@pytest.fixture
def compare(impasto, photo, style, tiny):
    """Compares paintings of `photo` in `style`, in compare.png."""

    def run(*options: object) -> tuple[object, str, str]:
        return impasto("compare", photo, style, *tiny, *options)

    return run


@pytest.fixture
def shallow(tiny_weights, tmp_path):
    """Weights that end with the third stage."""
    tensors = {name: each for name, each in load_file(tiny_weights).items() if name[4] in "123"}
    save_file(
        tensors, tmp_path / "shallow.safetensors", {"input": "(RGB in [0, 1] - 0.45) / 0.226"}
    )
    return "shallow.safetensors"


def titles(rows):
    return [[caption.split("\n")[0] for _, caption in row] for row in rows]


def cells(rows):
    return [cell for row in rows for cell in row]


def test_compare_paints_a_grid_of_two_settings(compare, sheets, tmp_path):
    code, out, err = compare("--vary", "optimizer=lbfgs,adam", "--vary", "strength=0.5,1,2")
    assert (code, out) == (0, "compare.png\n")
    assert titles(sheets[0]) == [
        [f"optimizer {name}, strength {strength}" for strength in ("0.5", "1", "2")]
        for name in ("lbfgs", "adam")
    ]
    for image, caption in cells(sheets[0]):
        assert image.size == (32, 27)
        _, facts = caption.split("\n")  # with another strength it is another objective
        assert re.fullmatch(rf"\d+\.\d{NB}s, 2{NB}evaluations", facts)
    for k, (_, caption) in enumerate(cells(sheets[0]), 1):
        assert f"{k}/6  {caption.splitlines()[0]}: " in err
    assert [path.name for path in tmp_path.iterdir()] == ["compare.png"]


@pytest.mark.parametrize(
    ("vary", "shown"), [("optimizer=lbfgs,adam", True), ("preset=default,layered", False)]
)
def test_objectives_stand_side_by_side_only_where_they_compare(compare, sheets, vary, shown):
    assert compare("--vary", vary)[0] == 0
    for _, caption in cells(sheets[0]):
        assert bool(re.search(rf"\nobjective{NB}[\d.e+-]+$", caption)) == shown


def test_contents_and_styles_are_compared(impasto, photo, style, tiny, sheets, tmp_path):
    for name in ("a", "b"):
        Image.open(photo).save(tmp_path / f"{name}.png")
        Image.open(style).save(tmp_path / f"{name}-style.png")
    contents, styles = "content=a.png,b.png", "style=a-style.png,b-style.png"
    both = ("compare", "--vary", contents, "--vary", styles, "-o", "table.pdf")
    assert impasto(*both, *tiny)[:2] == (0, "table.pdf\n")
    assert (tmp_path / "table.pdf").read_bytes().startswith(b"%PDF")
    assert titles(sheets[0]) == [
        [f"content {name}.png, style {other}-style.png" for other in "ab"] for name in "ab"
    ]
    assert impasto("compare", "a.png", "--vary", styles, "--vary", "seed=1,2", *tiny)[0] == 0
    assert impasto("compare", "--style", style, "--vary", contents, *tiny)[0] == 0
    assert titles(sheets[2]) == [["content a.png", "content b.png"]]
    for given, said in (
        (("a.png", style, "--vary", styles), "is a style, and --vary style names them"),
        (("--vary", contents), "give a CONTENT and a STYLE picture"),
        (("--vary", styles), "give a CONTENT and a STYLE picture"),
    ):
        assert said in impasto("compare", *given, *tiny)[2]


def test_compare_is_a_sheet_of_all_its_paintings(compare, sheets, tmp_path):
    assert compare("--vary", "seed=1,2", "--vary", "start=noise,content", "-o", "grid.png")[0] == 0
    values = np.asarray(Image.open(tmp_path / "grid.png"))
    width, half = round(32 / 27 * 320), len(values) // 2
    assert values.shape[1] == 16 + width + 16 + width + 16
    for k, (image, _) in enumerate(cells(sheets[0])):
        top, left = (16, half + 8)[k // 2], 16 + k % 2 * (width + 16)
        scaled = np.asarray(image.resize((width, 320), Image.Resampling.LANCZOS))
        np.testing.assert_array_equal(values[top : top + 320, left : left + width], scaled)


def test_compare_paints_what_paint_paints(compare, impasto, sheets, photo, style, tiny, tmp_path):
    options = ["--seed", 4, "--start", "noise", "--steps", 5]
    assert compare("--vary", "strength=0.1,30", *options)[0] == 0
    assert (
        impasto("paint", photo, style, "-o", "out.png", *tiny, *options, "--strength", 30)[0] == 0
    )
    first, second = (np.asarray(image) for image, _ in cells(sheets[0]))
    np.testing.assert_array_equal(second, np.asarray(Image.open(tmp_path / "out.png")))
    assert (first != second).any()


@pytest.mark.parametrize(
    ("vary", "shown"),
    [
        (
            "style-layers=relu1_1;relu1_1,relu2_1=0.5",
            ["style layers relu1_1", "style layers relu1_1,relu2_1=0.5"],
        ),
        ("start=content=0.6,noise=0.4;", ["start content=0.6,noise=0.4"]),
        ("--seed = 1, 2 ,", ["seed 1", "seed 2"]),
        ("clamp=true,false", ["clamp true", "clamp false"]),
    ],
)
def test_values_with_commas_are_separated_by_semicolons(compare, sheets, vary, shown):
    assert compare("--vary", vary)[0] == 0
    assert [caption.split("\n")[0] for _, caption in cells(sheets[0])] == shown


def test_presets_are_compared_with_what_is_typed_on_top(compare, sheets, tiny_weights, monkeypatch):
    from impasto.cli import terminal as running

    configs, run = [], running.run
    monkeypatch.setattr(
        running,
        "run",
        lambda *given, **more: configs.append(given[1].config) or run(*given, **more),
    )
    assert compare("--vary", "preset=default,keras-tv", "--vary", "optimizer=adam,lbfgs")[0] == 0
    assert titles(sheets[0]) == [
        [f"preset {name}, optimizer {optimizer}" for optimizer in ("adam", "lbfgs")]
        for name in ("default", "keras-tv")
    ]
    assert {(config.backbone, config.size, config.steps) for config in configs} == {
        (str(tiny_weights), 32, 2)
    }
    assert [config.normalize for config in configs] == ["energy", "energy", "none", "none"]
    assert [learning_rate(config) for config in configs] == [
        0.02,
        1,
        0.02,
        1,
    ]  # each optimizer has its own


def test_a_painting_that_fails_says_why_in_its_cell(compare, sheets, tmp_path, tiny_weights):
    code, out, err = compare("--vary", f"backbone={tiny_weights},missing.pth", "--vary", "seed=1,2")
    assert (code, out) == (3, "compare.png\n")
    (first, second), (third, fourth) = sheets[0]
    assert first[0].size == second[0].size == (32, 27)
    assert third[0] == fourth[0] == "no weights at missing.pth"
    assert (third[1], fourth[1]) == ("backbone missing.pth, seed 1", "backbone missing.pth, seed 2")
    assert "backbone missing.pth, seed 1: no weights at missing.pth" in err
    assert err.endswith("impasto: 2 of 4 could not be painted; the figure says why\n")
    values = np.asarray(Image.open(tmp_path / "compare.png"))
    frame = (values[len(values) // 2 :] == FAINT).all(2)
    assert (frame.sum(1) > 600).sum() == 2  # the upper and the lower edges of two frames in a row


def test_a_failure_in_quiet_is_still_told_in_one_line(compare, sheets):
    code, out, err = compare("--vary", "blend=1;0.5,0.5", "--quiet")
    assert (code, out) == (3, "compare.png\n")
    assert err == "impasto: 1 of 2 could not be painted; the figure says why\n"
    assert "--blend has 2 weights for 1 styles" in sheets[0][-1][-1][0]


def test_no_memory_for_one_painting_leaves_the_others(compare, sheets, monkeypatch):
    from impasto.cli import terminal as running

    plan_for = running.plan_for

    def full(problem, config, machine, backbone):
        if config.seed == 1:
            raise MemoryError
        return plan_for(problem, config, machine, backbone)

    monkeypatch.setattr(running, "plan_for", full)
    assert compare("--vary", "seed=0,1,2")[0] == 3
    assert [image for image, _ in cells(sheets[0]) if isinstance(image, str)] == [
        "not enough memory: give a smaller --size"
    ]


@pytest.mark.parametrize(
    ("vary", "said"),
    [
        (["strenth=1,2"], "no setting 'strenth' to vary: did you mean strength?"),
        (["strength"], "--vary strength has no values: give it as --vary strength=0.5,1,2"),
        (["strength="], "--vary strength is empty: give values, each once"),
        (
            ["strength=1", "strength=2"],
            "--vary strength is given twice: give all its values at once",
        ),
        (["style-layers=relu1_1", "style_layers=relu2_1"], "--vary style_layers is given twice"),
        (["strength=1,2,1"], "--vary strength is 1, 2, 1: give values, each once"),
        (["strength=1,much"], "--strength is 'much': it takes a number from 0 to 1,000"),
        (["preset=default,keras"], "no preset 'keras': did you mean keras-tv?"),
        (["seed=1", "steps=1", "strength=1"], "--vary names 3 fields: vary one or two"),
        ([], "Missing option '--vary'"),
        (["seed=1", "-o", "grid.svg"], "grid.svg has no figure's suffix"),
        (["seed=1", "--size", "9"], "--size is '9'"),
        (["seed=1", "--preset", "defalt"], "no preset 'defalt': did you mean default?"),
    ],
)
def test_what_cannot_be_compared_is_told_before_anything_is_painted(
    refused, photo, style, tiny, vary, said
):
    options = [
        part
        for each in vary
        for part in (["--vary", each] if "=" in each or each == "strength" else [each])
    ]
    assert said in refused("compare", photo, style, *tiny, *options)


def test_compare_needs_two_pictures_that_can_be_read(refused, photo, tiny):
    assert "give a CONTENT and a STYLE picture" in refused(
        "compare", photo, *tiny, "--vary", "seed=1"
    )
    assert "no picture at missing.png" in refused(
        "compare", photo, "missing.png", *tiny, "--vary", "seed=1"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["compare", "photo.png", "{style}", "--vary", "seed=1"],
        ["compare", "{style}", "photo.png", "--vary", "seed=1"],
        ["reconstruct", "--content", "photo.png", "--layers", "conv1_1"],
        ["reconstruct", "--style", "photo.png", "--layers", "conv1_1"],
    ],
)
def test_no_figure_overwrites_what_it_is_painted_from(
    refused, photo, style, tiny, tmp_path, arguments
):
    (tmp_path / "photo.png").write_bytes(photo.read_bytes())
    line = refused(*(each.format(style=style) for each in arguments), "-o", "./photo.png", *tiny)
    assert "photo.png is one of the" in line


def test_ctrl_c_in_a_painting_leaves_out_those_after_it(compare, sheets, ctrl_c, tmp_path):
    ctrl_c(4)  # in the second step of the second painting
    code, out, err = compare("--vary", "seed=1,2,3,4")
    assert (code, out) == (3, "compare.png\n")
    first, second, *rest = cells(sheets[0])
    assert first[1].startswith("seed 1\n")
    assert "stopped" not in first[1]
    assert re.fullmatch(rf"seed 2\n.*, 1{NB}evaluations\nobjective.*\nstopped by hand", second[1])
    assert rest == [(STOPPED, "seed 3"), (STOPPED, "seed 4")]
    assert err.endswith("impasto: 2 of 4 could not be painted; the figure says why\n")
    assert (tmp_path / "compare.png").exists()


def test_ctrl_c_before_a_painting_s_first_step_leaves_that_out_too(compare, sheets, monkeypatch):
    from impasto.objective.objective import Objective

    evaluate, calls = Objective.evaluate, []

    def stop(self, x):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return evaluate(self, x)

    monkeypatch.setattr(Objective, "evaluate", stop)
    assert compare("--vary", "seed=1,2,3")[0] == 3
    assert [image for image, _ in cells(sheets[0])][1:] == [STOPPED, STOPPED]
    calls[:] = [1, 1]
    code, out, err = compare("--vary", "seed=1,2,3", "-o", "none.png")
    assert (code, out, err.splitlines()[-1]) == (130, "", "impasto: stopped")


@pytest.fixture
def reconstruct(impasto, photo, style, tiny):
    """Reconstructs `photo` or `style` or both, with three layers."""

    def run(*options: object, content=photo, style=style, layers="conv1_1,conv2_1,relu3_1"):
        pictures = [
            *(["--content", content] if content else []),
            *(["--style", style] if style else []),
        ]
        return impasto(
            "reconstruct", *pictures, *tiny, *(["--layers", layers] if layers else []), *options
        )

    return run


CONTENT_ROW = ["content", "conv1_1", "conv2_1", "relu3_1"]
STYLE_ROW = ["style", "conv1_1", "conv1_1 to conv2_1", "conv1_1 to relu3_1"]


@pytest.mark.parametrize(
    ("without", "rows"),
    [("", [CONTENT_ROW, STYLE_ROW]), ("style", [CONTENT_ROW]), ("content", [STYLE_ROW])],
)
def test_reconstruct_shows_what_the_layers_keep(reconstruct, sheets, photo, style, without, rows):
    code, out, _ = reconstruct(**({without: None} if without else {}))
    assert (code, out) == (0, "reconstruct.png\n")
    assert titles(sheets[0]) == rows
    for (shown, named), *cells in sheets[0]:
        path = photo if named.startswith("content") else style
        assert named.split("\n")[1] == path.name
        np.testing.assert_array_equal(np.asarray(shown), np.asarray(Image.open(path)))
        for image, caption in cells:
            assert image.size == (32, 27)
            assert re.fullmatch(
                rf"2{NB}evaluations\nobjective{NB}[\d.e+-]+", caption.partition("\n")[2]
            )


def test_reconstruct_shows_the_published_layers_unless_told(reconstruct, sheets):
    assert reconstruct("--steps", 1, layers=None)[0] == 0
    content, style = titles(sheets[0])
    assert content == ["content", *(f"conv{k}_2" for k in range(1, 6))]
    assert style == ["style", "conv1_1", *(f"conv1_1 to conv{k}_1" for k in range(2, 6))]


def test_reconstruct_takes_keras_names_and_is_the_same_bytes_again(reconstruct, sheets, tmp_path):
    for name in ("one.png", "two.png"):
        assert (
            reconstruct("-o", name, "--seed", 5, layers="block1_conv1, relu2_1", style=None)[0] == 0
        )
    assert titles(sheets[0]) == [["content", "conv1_1", "relu2_1"]]
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_a_reconstruction_that_fails_says_why_and_counts_paintings_alone(
    reconstruct, sheets, shallow
):
    code, out, err = reconstruct("--backbone", shallow, layers="conv1_1,conv5_1", style=None)
    assert (code, out) == (3, "reconstruct.png\n")
    _, first, second = sheets[0][0]
    assert first[0].size == (32, 27)
    assert "layer conv5_1 is not in shallow.safetensors" in second[0]
    assert err.splitlines()[-1] == "impasto: 1 of 2 could not be painted; the figure says why"


def test_ctrl_c_in_the_content_s_row_leaves_out_the_style_s_row_too(reconstruct, sheets, ctrl_c):
    ctrl_c(4)
    assert reconstruct()[0] == 3
    content, style = ([image for image, _ in row] for row in sheets[0])
    assert content[3] == STOPPED
    assert style[1:] == [STOPPED] * 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give --content PICTURE, --style PICTURE, or both"),
        (["--content", "{photo}", "--style", "missing.png"], "no picture at missing.png"),
        (["--content", "missing.png"], "no picture at missing.png"),
        (["--content", "{photo}", "--style", "thin.png"], "32 x 1 pixels cannot be painted"),
        (["--content", "{photo}", "--layers", "conv1_1,conv1_9"], "no layer 'conv1_9' in VGG-19"),
        (["--content", "{photo}", "--layers", ","], "--layers is empty"),
        (["--content", "{photo}", "--layers", ""], "--layers is empty"),
        (["--content", "{photo}", "-o", "out.svg"], "out.svg has no figure's suffix"),
        (["--style", "{photo}", "--size", "x"], "--size is 'x'"),
    ],
)
def test_what_cannot_be_reconstructed_is_told_before_anything_is_painted(
    refused, photo, tiny, tmp_path, arguments, said
):
    Image.new("RGB", (600, 20)).save(tmp_path / "thin.png")
    assert said in refused(
        "reconstruct", *tiny, *(str(each).format(photo=photo) for each in arguments)
    )
