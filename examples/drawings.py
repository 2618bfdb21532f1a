"""A sheet of drawn X-rays, each finding in its box.

cxrtool demo --only-data drawn --patients 300
python examples/drawings.py drawn/CheXpert-v1.0-small sheet.jpg

It reads train.csv and boxes.csv as anyone's script would, and takes for each finding the first
frontal image that shows it most alone.
"""

import csv
import sys
from collections import defaultdict
from pathlib import Path

from PIL import Image, ImageDraw

CELL, COLUMNS, CAPTION = 240, 5, 18
GREY, GOLD = 235, (240, 180, 60)

Box = tuple[int, int, int, int]


def read_boxes(path: Path) -> dict[str, dict[str, list[Box]]]:
    """The boxes of each image's findings: path, then label, then (x0, y0, x1, y1) in pixels."""
    boxes: dict[str, dict[str, list[Box]]] = defaultdict(lambda: defaultdict(list))
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            x0, y0, x1, y1 = (int(row[name]) for name in ("x0", "y0", "x1", "y1"))
            boxes[row["Path"]][row["Label"]].append((x0, y0, x1, y1))
    return boxes


def draw_cell(path: Path, label: str, boxes: list[Box]) -> Image.Image:
    """One image with the boxes of one finding and its name below."""
    with Image.open(path) as film:
        picture = film.convert("RGB")
    pen = ImageDraw.Draw(picture)
    for box in boxes:
        pen.rectangle(box, outline=GOLD, width=2)
    cell = Image.new("RGB", (CELL, CELL + CAPTION))
    cell.paste(picture.resize((CELL, CELL)))
    ImageDraw.Draw(cell).text((4, CELL + 2), label, fill=(GREY, GREY, GREY))
    return cell


def main(data: str, sheet: str) -> None:
    """Write the sheet."""
    folder = Path(data)
    images = read_boxes(folder / "boxes.csv")
    frontal = {path: found for path, found in images.items() if "_frontal" in path}
    labels = sorted({label for found in frontal.values() for label in found})
    cells = []
    for label in labels:
        shown = [path for path, found in frontal.items() if label in found]
        path = min(shown, key=lambda name: len(frontal[name]))
        cells.append(draw_cell(folder.parent / path, label, frontal[path][label]))
    rows = -(-len(cells) // COLUMNS)
    page = Image.new("RGB", (COLUMNS * CELL, rows * (CELL + CAPTION)))
    for number, cell in enumerate(cells):
        row, column = divmod(number, COLUMNS)
        page.paste(cell, (column * CELL, row * (CELL + CAPTION)))
    page.save(sheet)
    print(f"{len(cells)} findings: {sheet}")


if __name__ == "__main__":
    main(*sys.argv[1:])
