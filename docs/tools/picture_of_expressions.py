"""Draws docs/images/expressions.jpg: the astronaut with the seven measured expressions, by name.

    python docs/tools/picture_of_expressions.py
"""

from pathlib import Path

import numpy as np
from skimage import data

from affect3d import Portrait, named_expression, write_image
from affect3d.affect.named import EXPRESSION_LABELS
from affect3d.synthesis.sheets import strip_sheet

SIZE = 240


def main():
    portrait = Portrait.from_photo(np.ascontiguousarray(data.astronaut())).close_up(SIZE)
    images, labels = [portrait.pixels], ["photo"]
    for name in EXPRESSION_LABELS:
        if name != "neutral":
            images.append(portrait.show(named_expression(name)).image)
            labels.append(name)
    sheet = strip_sheet(images, labels, SIZE, 4)
    write_image(Path(__file__).parents[1] / "images" / "expressions.jpg", sheet)


if __name__ == "__main__":
    main()
