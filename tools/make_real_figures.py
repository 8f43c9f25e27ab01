"""Draw figures of notebooks 11 and 12 with weights that were trained on real photos.

    python -m tools.make_real_figures vit_b_16
    python -m tools.make_real_figures timm:vit_small_patch16_224.dino --output images

The weights are any that `from_pretrained` reads: a name as above, which is fetched into
its library's usual cache, or a file. The photos are the four in the package. Writes
real_maps.png, the last layer's attention, rollout and (where the weights have a head)
relevance for the likeliest class; and real_structure.png, the paper's figure 7.
"""

import argparse
import sys
from pathlib import Path

import matplotlib

from going_modular.errors import InputError
from going_modular.helper_functions import use_style
from going_modular.plots.style import save_figure
from going_modular.teaching.real_weights import draw_maps, draw_structure

FIGURES = {"real_maps.png": draw_maps, "real_structure.png": draw_structure}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", help="a name such as vit_b_16, or a file")
    parser.add_argument("--output", type=Path, default=Path("images"), help="a folder")
    arguments = parser.parse_args(argv)
    matplotlib.use("Agg")
    use_style()
    arguments.output.mkdir(parents=True, exist_ok=True)
    try:
        for name, draw in FIGURES.items():
            figure = draw(arguments.weights)
            figure.suptitle(f"weights: {Path(arguments.weights).name}", fontsize=9)
            save_figure(figure, arguments.output / name, dpi=120)
            print(arguments.output / name)
    except InputError as error:
        sys.exit(f"make_real_figures: {error}")


if __name__ == "__main__":
    main()
