"""Make the pictures of docs/guide.md, with the samples in the package: python examples/controls.py

One figure for each control, painted with the defaults otherwise. Takes minutes on two cores;
nothing is downloaded.
"""

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFilter

from impasto import Config, paint
from impasto.backbone.load import load_backbone
from impasto.figures.contact_sheet import contact_sheet
from impasto.images.samples import STYLES, sample_portrait, sample_style
from impasto.images.write import write

ROOT = Path(__file__).resolve().parent.parent
PHOTO = sample_portrait()
SIZE = 384
CORNER = 80  # pixels of a painting, to see its surface
TERMS = ("gram", "wasserstein", "moments", "sliced", "neighbors")


def draw_masks(folder: Path) -> dict[str, Path]:
    """Draw masks of the person in the photograph, of her face, and a ramp from left to right."""
    width, height = Image.open(PHOTO).size
    person, face = (Image.new("L", (width, height)) for _ in range(2))
    draw = ImageDraw.Draw(person)
    draw.ellipse((0.3 * width, 0.02 * height, 0.8 * width, 0.6 * height), fill=255)
    draw.polygon(
        [
            (0.02 * width, height),
            (0.12 * width, 0.7 * height),
            (0.4 * width, 0.5 * height),
            (0.68 * width, 0.5 * height),
            (0.95 * width, 0.65 * height),
            (width, 0.8 * height),
            (width, height),
        ],
        fill=255,
    )
    ImageDraw.Draw(face).ellipse(
        (0.36 * width, 0.18 * height, 0.72 * width, 0.56 * height), fill=255
    )
    ramp = Image.linear_gradient("L").rotate(90).resize((width, height))
    masks = {
        "person": person.filter(ImageFilter.GaussianBlur(0.01 * width)),
        "face": face.filter(ImageFilter.GaussianBlur(0.03 * width)),
        "ramp": ramp,
    }
    for name, mask in masks.items():
        write(mask, folder / f"{name}.png")
    return {name: folder / f"{name}.png" for name in masks}


def main() -> None:
    """Make every figure, into --out."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "gallery")
    out = parser.parse_args().out
    default = Config(size=SIZE)
    backbone = load_backbone(default)
    strokes, woodcut, glass, points = (sample_style(name) for name in STYLES[:4])

    def cell(caption: str, styles: Any = strokes, **settings: Any) -> tuple[Image.Image, str]:
        print(caption, flush=True)
        return paint(PHOTO, styles, default.changed(**settings), backbone=backbone).image, caption

    def picture(path: Path, caption: str) -> tuple[Image.Image, str]:
        return Image.open(path), caption

    def sheet(name: str, *rows: list[tuple[Image.Image, str]]) -> None:
        write(contact_sheet(rows), out / f"{name}.jpg")

    with tempfile.TemporaryDirectory() as folder:
        masks: Mapping[str, Path] = draw_masks(Path(folder))
        sheet(
            "colors",
            [picture(PHOTO, "content"), picture(strokes, "style"), picture(points, "palette")],
            [
                cell("--color style"),
                cell("--color content", color="content"),
                cell("--color luminance", color="luminance"),
                cell("--palette", palette=str(points)),
            ],
        )
        sheet(
            "regions",
            [
                picture(masks["person"], "person.png"),
                cell("person.png=woodcut", mask=f"{masks['person']}={woodcut}"),
                picture(masks["ramp"], "ramp.png"),
                cell("ramp.png=glass", mask=f"{masks['ramp']}={glass}"),
            ],
        )
        sheet(
            "layers",
            [
                picture(woodcut, "woodcut"),
                picture(strokes, "strokes"),
                cell("--fine woodcut --coarse strokes", [], fine=str(woodcut), coarse=str(strokes)),
                cell("--fine strokes --coarse woodcut", [], fine=str(strokes), coarse=str(woodcut)),
            ],
        )
        sheet(
            "brush", [cell(f"--style-scale {scale:g}", style_scale=scale) for scale in (0.5, 1, 2)]
        )
        sheet(
            "protect",
            [
                picture(masks["face"], "face.png"),
                cell("nothing protected", strength=4),
                cell("--protect face.png", strength=4, protect=str(masks["face"])),
                cell("--edge-weight 3", strength=4, edge_weight=3),
            ],
        )
        rows = [
            [
                picture(sample_style(name), name),
                *(cell(f"{name}, {term}", sample_style(name), style_term=term) for term in TERMS),
            ]
            for name in STYLES[:3]
        ]
        sheet("style_terms", *rows)

        def corner(caption: str, **settings: Any) -> tuple[Image.Image, str]:
            image, _ = cell(caption, **settings)
            return image.crop((0, 0, CORNER, CORNER)).resize(
                (4 * CORNER, 4 * CORNER), Image.Resampling.NEAREST
            ), caption

        plain = {
            "levels": 1,
            "grain_weight": 0,
            "precondition": 0,
            "padding": "zeros",
            "clamp": False,
        }
        sheet(
            "cleanliness",
            [
                corner("as it is"),
                corner("zeros at the border, no grain", padding="zeros", grain_weight=0),
                corner("from noise, plain", start={"noise": 1.0}, **plain),
                corner("from noise, as it is", start={"noise": 1.0}),
            ],
            [
                corner("Adam, plain, 20 steps", optimizer="adam", steps=20, **plain),
                corner("Adam, as it is", optimizer="adam"),
                corner("average pooling, plain", pooling="average", **plain),
                corner("average pooling", pooling="average"),
            ],
        )


if __name__ == "__main__":
    main()
