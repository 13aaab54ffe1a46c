import math
import re
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image, ImageColor

from impasto.backbone.architecture import VGG19
from impasto.errors import OutputError
from impasto.figures.curve import Curve
from impasto.figures.plots import (
    COLORS,
    CONTENT,
    STYLE_MARK,
    curves,
    heat,
    network,
    write_plot,
)
from impasto.presets import PRESETS

NAN = math.nan
CHANNELS = [
    width for width, depth in zip(VGG19.widths, VGG19.depths, strict=True) for _ in range(depth)
]
VGG = dict(zip(VGG19.convolutions, CHANNELS, strict=True))


def run(name="run", steps=4, levels=None, **terms):
    """A run whose objective and terms fall; a term's name is given with _ for the space."""
    falling = [10.0 / k for k in range(1, steps + 1)]
    named = {each.replace("_", " ", 1): values for each, values in terms.items()}
    return Curve(name, range(1, steps + 1), levels or [1] * steps, falling, named)


TWO_TERMS = {"content_relu4_2": [4.0, 3.0, 2.0, 1.0], "style_relu1_1": [8.0, 4.0, 2.0, 1.0]}


def lines(axes):
    return {line.get_label(): line for line in axes.lines if len(line.get_xdata()) > 2}


def marks(axes):
    """Steps at which a level begins, as drawn."""
    return [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 2]


def visible(figure):
    return [axes for axes in figure.axes if axes.get_visible()]


def legend_of(thing):
    return [text.get_text() for text in thing.get_texts()]


def test_one_run_is_drawn_as_its_sums_and_as_its_terms():
    terms = {**TWO_TERMS, "style_relu2_1": [1.0, 1.0, 0.5, 0.25], "grain": [0.1, 0.2, 0.3, 0.4]}
    left, right = curves([run("my run", **terms)]).axes
    assert list(lines(left)) == ["objective", "content", "style", "grain"]
    assert list(lines(right)) == ["content relu4_2", "style relu1_1", "style relu2_1", "grain"]
    for axes in (left, right):
        assert (axes.get_yscale(), axes.get_xlabel()) == ("log", "step")
        assert all(list(line.get_xdata()) == [1, 2, 3, 4] for line in lines(axes).values())
        assert legend_of(axes.get_legend()) == list(lines(axes))
    assert list(lines(left)["objective"].get_ydata()) == pytest.approx([10, 5, 10 / 3, 2.5])
    assert list(lines(left)["style"].get_ydata()) == [9, 5, 2.5, 1.25]
    assert list(lines(right)["style relu2_1"].get_ydata()) == [1, 1, 0.5, 0.25]
    assert left.figure.get_suptitle() == "my run"


def strokes(path):
    """Dashes and colors of the lines that a plot holds, panel after panel."""
    panels = re.split(r'<g id="axes_\d+">', path.read_text())[1:]
    return [
        set(re.findall(r"stroke-dasharray: ([^;]*); .*stroke: (#\w{6})", panel)) for panel in panels
    ]


def test_every_line_of_a_panel_has_its_own_color_and_its_own_dashes(tmp_path):
    terms = {
        name: [1.0, 2.0, 3.0, 4.0]
        for name in ("content_relu4_2", *(f"style_relu{k}_1" for k in range(1, 6)))
    }
    figure = curves([run(**terms, grain=[1.0, 1.0, 1.0, 1.0])])
    left, right = strokes(write_plot(figure, tmp_path / "run.svg"))
    assert {color for _, color in left | right} <= {color.lower() for color in COLORS}
    for found, count in ((left, 4), (right, 7)):
        assert len({color for _, color in found}) == count
        assert len({dashes for dashes, _ in found}) == count


def test_the_legends_of_one_run_cover_nothing():
    figure = curves([run(**TWO_TERMS, grain=[1.0, 1.0, 1.0, 1.0])])
    blank_content = FigureCanvasAgg(figure)
    blank_content.draw()
    for axes in figure.axes:
        legend = axes.get_legend().get_window_extent(blank_content.get_renderer())
        assert not legend.overlaps(axes.xaxis.label.get_window_extent(blank_content.get_renderer()))
        assert figure.bbox.x0 <= legend.x0 < legend.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= legend.y0


def test_objectives_of_other_terms_are_drawn_relative_to_their_first_values() -> None:
    one, other = run("one", **TWO_TERMS), run("other", grain=[1.0] * 4)
    axes = curves([one, other._replace(objective=[NAN, 500.0, 250.0, 125.0])]).axes[0]
    assert axes.get_title() == "objective / first value"
    assert [line.get_ydata()[1] for line in axes.lines] == [0.5, 1.0]
    assert curves([one, one._replace(name="again")]).axes[0].get_title() == "objective"


@pytest.mark.parametrize(("count", "panels"), [(1, 2), (2, 3), (3, 4), (6, 7)])
def test_several_runs_have_one_panel_a_term(count, panels):
    terms = {f"style_relu{k}_1": [1.0, 2.0, 3.0, 4.0] for k in range(count)}
    figure = curves([run("a", **terms), run("b", **terms)])
    assert [axes.get_title() for axes in visible(figure)] == [
        "objective",
        *(f"style relu{k}_1" for k in range(count)),
    ]
    assert len(visible(figure)) == panels
    for axes in visible(figure):
        assert (axes.get_yscale(), axes.get_xlabel(), list(lines(axes))) == (
            "log",
            "step",
            ["a", "b"],
        )


def test_a_term_that_one_run_lacks_is_drawn_of_the_other_in_its_own_color():
    without = {"content_relu4_2": [1.0, 2.0, 3.0, 4.0]}
    objective, content, style = visible(
        curves([run("without", **without), run("with", **TWO_TERMS)])
    )
    assert (content.get_title(), style.get_title()) == ("content relu4_2", "style relu1_1")
    assert list(lines(content)) == ["without", "with"]
    assert list(lines(content)["without"].get_ydata()) == [1, 2, 3, 4]
    assert list(lines(style)) == ["with"]
    assert list(lines(style)["with"].get_ydata()) == [8, 4, 2, 1]
    colors = {axes.lines[-1].get_color() for axes in (objective, content, style)}
    assert colors == {COLORS[1]}


def test_six_runs_differ_in_color_and_in_dashes_and_are_named_in_the_legend(tmp_path):
    names = [f"run {k}" for k in range(6)]
    figure = curves([run(name, **TWO_TERMS) for name in names])
    for axes in visible(figure):
        assert list(lines(axes)) == names
        assert [line.get_color() for line in lines(axes).values()] == list(COLORS[:6])
    [legend] = figure.legends
    assert legend_of(legend) == names
    found = strokes(write_plot(figure, tmp_path / "six.svg"))[0]
    assert {color for _, color in found} == {color.lower() for color in COLORS[:6]}
    assert len({dashes for dashes, _ in found}) == 6


def test_runs_of_different_lengths_keep_their_own_steps():
    objective = curves([run("long", 9), run("short", 4)]).axes[0]
    assert {name: list(line.get_xdata()) for name, line in lines(objective).items()} == {
        "long": list(range(1, 10)),
        "short": [1, 2, 3, 4],
    }


def test_levels_of_one_run_are_marked_where_they_begin():
    left, right = curves([run(steps=6, levels=[1, 1, 2, 2, 2, 3], content=[1.0] * 6)]).axes
    for axes in (left, right):
        assert marks(axes) == [2.5, 5.5]
        assert [(text.get_text().strip(), text.xy[0]) for text in axes.texts] == [
            ("level 2", 2.5),
            ("level 3", 5.5),
        ]


def test_levels_of_several_runs_are_marked_where_they_agree():
    same = [run(name, levels=[1, 1, 2, 2], **TWO_TERMS) for name in "ab"]
    assert [marks(axes) for axes in visible(curves(same))] == [[2.5]] * 3
    other = [same[0], run("c", levels=[1, 2, 2, 2], **TWO_TERMS)]
    assert [marks(axes) for axes in visible(curves(other))] == [[]] * 3


@pytest.mark.parametrize("gap", [NAN, 0.0])
def test_a_value_that_has_no_logarithm_is_a_gap(gap, tmp_path):
    figure = curves([run(content=[4.0, gap, 2.0, 1.0], style=[1.0, 1.0, 1.0, 1.0])])
    left, right = figure.axes
    for axes in (left, right):
        np.testing.assert_array_equal(lines(axes)["content"].get_ydata(), [4, NAN, 2, 1])
    write_plot(figure, tmp_path / "gap.png")


@pytest.mark.parametrize("count", [1, 2])
def test_a_term_that_is_zero_all_along_is_drawn_without_complaint(count, tmp_path):
    terms = {"content": [0.0] * 4, "style": [NAN] * 4}
    figure = curves([run(name, **terms) for name in "ab"[:count]])
    write_plot(figure, tmp_path / "zeros.png")
    assert len(visible(figure)) == (2 if count == 1 else 3)


@pytest.mark.parametrize("values", [[2.0], [NAN, 2.0, NAN, 1.0]])
def test_a_value_without_neighbors_is_a_point(values, tmp_path):
    count = len(values)
    path = write_plot(curves([run(steps=count, content=values)]), tmp_path / "points.png")
    drawn = np.asarray(Image.open(path).convert("RGB")).astype(int)
    above_the_legends = drawn[: len(drawn) * 3 // 4]
    assert (abs(above_the_legends - ImageColor.getrgb(COLORS[1])).max(2) < 40).sum() > 10


@pytest.mark.parametrize(
    "values", [(3.3, 4.7), (0.31, 0.33), (11, 90), (0.9, 210), (1e-3, 5e5), (2, 2)]
)
def test_an_axis_has_at_least_two_ticks_with_numbers(values):
    term = np.geomspace(*values, 4).tolist()
    figure = curves([run(content=term)])
    FigureCanvasAgg(figure).draw()
    axes = figure.axes[1]
    low, high = axes.get_ylim()
    ticks = [tick for tick in axes.get_yticks() if low <= tick <= high]
    assert len(ticks) >= 2
    assert len({text.get_text() for text in axes.get_yticklabels()} - {""}) >= 2


def test_a_run_is_named_as_its_file_is(tmp_path):
    names = ["_under", "cost $1 and $2", r"$\nothing$", "a--b & <c>", "50 %", "x^2_3"]
    figures = [curves([run(name, **TWO_TERMS) for name in names])]
    figures += [curves([run(name, **TWO_TERMS)]) for name in names[1:3]]
    for figure, expected in zip(figures, [names, *([name] for name in names[1:3])], strict=True):
        with mpl.rc_context({"svg.fonttype": "none"}):  # letters as letters
            drawn = ElementTree.parse(write_plot(figure, tmp_path / "named.svg"))
        assert {element.text for element in drawn.iter()} >= set(expected)


def test_a_run_named_in_another_script_is_drawn_without_complaint(tmp_path):
    write_plot(curves([run("巻物", **TWO_TERMS)]), tmp_path / "named.png")


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_the_same_figure_is_written_as_the_same_bytes_without_a_date(tmp_path, suffix):
    for name in ("one", "two"):
        write_plot(curves([run(**TWO_TERMS)]), tmp_path / f"{name}{suffix}")
    written = (tmp_path / f"one{suffix}").read_bytes()
    assert written == (tmp_path / f"two{suffix}").read_bytes()
    if suffix == ".png":
        with Image.open(tmp_path / "one.png") as image:
            assert set(image.info) <= {"dpi"}
            assert image.width > 1200
    elif suffix == ".pdf":
        assert b"CreationDate" not in written
    else:
        text = written.decode()
        assert ElementTree.fromstring(text).tag.endswith("svg")
        assert "dc:date" not in text
        assert re.search(r"\b20\d\d-\d\d-\d\d", text) is None


@pytest.mark.parametrize("name", ["plot.jpg", "plot.eps", "plot", "no/where.png"])
def test_a_plot_that_cannot_be_written_is_told_in_one_line(tmp_path, name):
    with pytest.raises(OutputError, match=r"choose from \.png, \.svg|no folder") as said:
        write_plot(curves([run(**TWO_TERMS)]), tmp_path / name)
    assert "\n" not in str(said.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("colors", ["magma", "gray"])
def test_heat_goes_from_one_end_of_its_colors_to_the_other(colors):
    drawn = np.asarray(heat(np.linspace(-3, 5, 12).reshape(3, 4), colors))
    assert drawn.shape == (3, 4, 3)
    ends = [np.round(np.array(mpl.colormaps[colors](end)[:3]) * 255) for end in (0.0, 1.0)]
    np.testing.assert_array_equal(drawn[0, 0], ends[0])
    np.testing.assert_array_equal(drawn[-1, -1], ends[1])
    bright = drawn.astype(int).sum(2).flatten()
    assert (np.diff(bright) > 0).all()


def test_heat_of_a_few_great_values_still_shows_the_others():
    values = np.tile(np.linspace(0, 1, 100), (20, 1))
    values[0, 0] = 1000
    drawn = np.asarray(heat(values, "gray")).astype(int)
    assert drawn[0, 0, 0] == 255
    assert drawn[10, 50, 0] == pytest.approx(128, abs=5)


def test_heat_of_one_bright_position_shows_it():
    values = np.zeros((40, 40))
    values[7, 9] = 2.0
    assert np.asarray(heat(values, "gray"))[7, 9, 0] == 255


@pytest.mark.parametrize("constant", [0.0, -2.0, 7.0])
def test_heat_of_a_constant_is_one_color(constant):
    drawn = np.asarray(heat(np.full((5, 6), constant)))
    assert drawn.shape == (5, 6, 3)
    np.testing.assert_array_equal(drawn, np.broadcast_to(drawn[0, 0], drawn.shape))


def texts(figure):
    return {text.get_text(): text for text in figure.axes[0].texts}


@pytest.mark.parametrize("name", PRESETS)
def test_the_network_shows_every_convolution_and_the_layers_that_a_preset_uses(name):
    config = PRESETS[name].config
    figure = network(f"as {name}", VGG, config.content_layers, config.style_layers)
    found = texts(figure)
    assert figure.axes[0].get_title() == f"as {name}"
    assert [text for text in found if re.match(r"conv\d_\d\n", text)] == [
        f"{k}\n{v}" for k, v in VGG.items()
    ]
    assert len(figure.axes[0].patches) == 16
    for layers, color in ((config.content_layers, CONTENT), (config.style_layers, STYLE_MARK)):
        marked = {
            text for text, drawn in found.items() if drawn.get_color() == color and "■" not in text
        }
        assert marked == {
            layer if weight == 1 else f"{layer} × {weight:g}" for layer, weight in layers.items()
        }
    assert (found["■ content"].get_color(), found["■ style"].get_color()) == (CONTENT, STYLE_MARK)
    assert "stage 1\nH × W" in found
    assert "stage 5\nH / 16 × W / 16" in found


@pytest.mark.parametrize("name", PRESETS)
def test_no_text_of_the_network_covers_another_or_leaves_the_figure(name):
    config = PRESETS[name].config
    figure = network(f"as {name}", VGG, config.content_layers, config.style_layers)
    blank_content = FigureCanvasAgg(figure)
    blank_content.draw()
    boxes = {
        text: drawn.get_window_extent(blank_content.get_renderer())
        for text, drawn in texts(figure).items()
    }
    for text, box in boxes.items():
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1, text
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1, text
        assert [
            other for other, there in boxes.items() if other != text and box.overlaps(there)
        ] == [], text


def test_the_network_s_boxes_are_as_high_as_features_and_as_wide_as_channels():
    figure = network("net", {"conv1_1": 4, "conv1_2": 16, "conv2_1": 64}, {}, {})
    first, second, third = figure.axes[0].patches
    assert first.get_height() == second.get_height() > third.get_height()
    assert first.get_width() < second.get_width() < third.get_width()
    assert first.get_x() + first.get_width() < second.get_x()


def test_a_layer_is_marked_above_its_own_convolution():
    figure = network("net", VGG, {"conv4_2": 1.0, "relu4_2": 0.5}, {"conv4_2": 2.0})
    found = texts(figure)
    over = found["conv4_2\n512"].get_position()[0]
    marked = [found[text] for text in ("conv4_2", "relu4_2 × 0.5", "conv4_2 × 2")]
    assert [each.get_position()[0] for each in marked] == [over] * 3
    assert len({each.get_position()[1] for each in marked}) == 3
