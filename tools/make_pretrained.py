"""Train the built-in weights and write them, with their card, into the package.

    python -m tools.make_pretrained
    python -m tools.make_pretrained --smoke FOLDER

A convolutional network learns all 60,000 training images of Fashion-MNIST (Debian's
package dataset-fashion-mnist, or `train.py --data fashion_mnist --download` once) and
then teaches the Vision Transformer: see `tools.distillation`. About two hours on two
cores; an interrupted run goes on where it stopped. The weights are rounded to half
precision and measured as they are shipped. With --smoke it takes a few images, seconds,
and a folder of its own.
"""

import argparse
import hashlib
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from experiments.contenders import ResNet
from going_modular.checkpoint import save_model
from going_modular.config import ViTConfig
from going_modular.data_setup import Batches, ImageSet, load_builtin, normalise
from going_modular.datasets.sources import load_fashion_mnist
from going_modular.engine import evaluate
from going_modular.pretrained import from_pretrained
from going_modular.system.files import write_file
from going_modular.training.fast_path import FastPath, choose_precision
from going_modular.utils import describe_machine
from going_modular.vit import ViT
from tools.distillation import Lesson, Views, learn, logits_of_views

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "going_modular/weights"
RUN = ROOT / "runs/pretrained"
CONFIG = ViTConfig(
    image_size=28,
    patch_size=4,
    in_channels=1,
    embedding_dim=96,
    depth=6,
    num_heads=4,
    mlp_size=384,
    num_classes=10,
)


@dataclass(frozen=True)
class Recipe:
    """How the two are trained."""

    teacher: Lesson = Lesson(epochs=24, weight_decay=0.3, smoothing=0.1)
    student: Lesson = Lesson(epochs=60, weight_decay=0.3, taught=0.8)
    views: Views = Views()


CARD = """\
# The built-in weights

`built_in.safetensors` is a small Vision Transformer that this project trained on images
of clothing. `--weights built-in` takes it, without a network.

| | |
|---|---|
| data | Fashion-MNIST, all 60,000 training images (Xiao et al., arXiv 1708.07747) |
| its licence | MIT, (c) 2017 Zalando SE, `../data/LICENSE-fashion-mnist.txt` |
| licence of the weights | MIT, as the project |
| model | {model} |
| parameters | {parameters:,}, stored as float16 |
| pixels | 28 x 28 grey, (x / 255 - 0.5) / 0.5 |
| teacher | a ResNet of 13 convolutions, {teacher_epochs} epochs: {taught:.2f} % of the test images |
| training | {epochs} epochs, each image in {views} views; {share:.0%} of the loss compares with what the teacher says of the same view, the rest with the label |
| command | `make pretrained` |
| seed | 0 |
| hardware | {processor}, {threads} thread(s), PyTorch {torch}, {precision} |
| accuracy | **{accuracy:.2f} %** of the 10,000 test images, with the stored file |

So these weights hold more than a Vision Transformer learns from labels alone: a
convolutional network has passed on what it makes of each picture, and with it some of
its inductive bias (notebook 08). The test images took no part in training and chose
nothing. The model knows ten kinds of clothing, seen from the front on a black ground: a
starting point for other small grey images and for the notebooks, not a classifier of
photos.

SHA-256: `{checksum}`
"""  # noqa: E501


def train_teacher(data: ImageSet, recipe: Recipe, run: Path, dtype) -> nn.Module:
    """The convolutional network."""

    def in_low_precision(model: nn.Module) -> nn.Module:
        return Autocast(model.to(memory_format=torch.channels_last), dtype)

    return learn(
        partial(ResNet, widths=(32, 64, 128), halved=False),
        data,
        recipe.teacher,
        recipe.views,
        run / "teacher.pt",
        wrap=in_low_precision,
    )


class Autocast(nn.Module):
    """A model whose products are of a lower precision."""

    def __init__(self, model: nn.Module, dtype: torch.dtype):
        super().__init__()
        self.model, self.dtype = model, dtype

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, 1, H, W) images to (B, K) logits."""
        with torch.autocast("cpu", self.dtype, enabled=self.dtype != torch.float32):
            return self.model(x)


def what_it_says(
    teacher: nn.Module, data: ImageSet, recipe: Recipe, run: Path
) -> Tensor:
    """(views, n, K) logits of the teacher, from their file if there is one."""
    file = run / "told.pt"
    if not file.exists():
        said = logits_of_views(teacher, data, recipe.views)
        write_file(file, partial(torch.save, said))
    return torch.load(file, weights_only=True)


def accuracy_of(model: nn.Module, data: ImageSet) -> float:
    batches = Batches(data, 500, transform=partial(normalise, mean=(0.5,), std=(0.5,)))
    return evaluate(model, batches)[1]


def make(
    train: ImageSet, test: ImageSet, recipe: Recipe, run: Path, folder: Path
) -> float:
    """Train both, and write weights and card.

    Returns:
        The accuracy of the stored weights.
    """
    run.mkdir(parents=True, exist_ok=True)
    precision = choose_precision("auto", torch.device("cpu"))
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    teacher = train_teacher(train, recipe, run, dtype)
    taught = accuracy_of(teacher, test)
    print(f"teacher: {taught:.2%} of the test images", flush=True)
    model = learn(
        partial(ViT, CONFIG),
        train,
        recipe.student,
        recipe.views,
        run / "student.pt",
        told=what_it_says(teacher, train, recipe, run),
        wrap=partial(FastPath, precision=dtype),
    )
    file = folder / "built_in.safetensors"
    save_model(file, model.half(), train.class_names)
    shipped = from_pretrained(file, quiet=True)
    accuracy = accuracy_of(shipped, test)
    c = shipped.config
    card = CARD.format(
        model=f"P = {c.patch_size}, L = {c.depth}, D = {c.embedding_dim}, "
        f"{c.num_heads} heads, MLP size {c.mlp_size}",
        parameters=sum(p.numel() for p in shipped.parameters()),
        teacher_epochs=recipe.teacher.epochs,
        taught=100 * taught,
        epochs=recipe.student.epochs,
        views=recipe.views.count,
        share=recipe.student.taught,
        precision=precision,
        accuracy=100 * accuracy,
        checksum=hashlib.sha256(file.read_bytes()).hexdigest(),
        **describe_machine(),
    )
    (folder / "README.md").write_text(card, encoding="utf-8")
    print(f"{file.name}: {file.stat().st_size / 1e6:.2f} MB, {accuracy:.2%}")
    return accuracy


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", type=Path, metavar="FOLDER")
    folder = parser.parse_args(argv).smoke
    if folder is None:
        make(*load_fashion_mnist(), Recipe(), RUN, FOLDER)
        return 0
    train, test = (data.subset(slice(None, None, 40)) for data in load_builtin())
    few = replace(Lesson(epochs=2, batch_size=30), taught=0.5)
    recipe = Recipe(replace(few, taught=0.0), few, Views(count=2))
    make(train, test, recipe, folder / "run", folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
