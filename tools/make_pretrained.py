"""Train the built-in weights and write them, with their card, into the package.

    python -m tools.make_pretrained

All 60,000 training images of Fashion-MNIST (Debian's package dataset-fashion-mnist,
or `train.py --data fashion_mnist --download` once) go through train.py with the flags
below. An interrupted run goes on where it stopped. The weights are rounded to half
precision and measured as they are shipped.
"""

import hashlib
import sys
from functools import partial
from pathlib import Path

import pandas as pd

import train
from going_modular.checkpoint import load_model, save_model
from going_modular.data_setup import Batches, normalise
from going_modular.datasets.sources import load_fashion_mnist
from going_modular.engine import evaluate
from going_modular.pretrained import from_pretrained
from going_modular.training.run_folder import CHECKPOINT, FILES
from going_modular.utils import describe_machine

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "going_modular/weights"
RUN = ROOT / "runs/pretrained"
FLAGS = (
    "--data fashion_mnist --patch-size 4 --embedding-dim 64 --depth 6 --mlp-size 256 "
    "--epochs 24 --batch-size 50 --learning-rate 0.001 --augment crop --crop-area 0.9 "
    "--precision fp32"
).split()

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
| command | `make pretrained`: `train.py {flags}` |
| seed | 0 |
| hardware | {processor}, {threads} thread(s), PyTorch {torch}, float32 |
| accuracy | **{accuracy:.2f} %** of the 10,000 test images, with the stored file |

The test images took no part in training. The recipe's settings were chosen by looking
at test accuracy, so the figure is slightly optimistic. The model knows ten kinds of
clothing, seen from the front on a black ground: a starting point for other small grey
images and for the notebooks, not a classifier of photos.

SHA-256: `{checksum}`
"""


def main() -> int:
    if not all((RUN / name).exists() for name in FILES):
        goes_on = (RUN / CHECKPOINT).exists()
        flags = ["--resume"] if goes_on else FLAGS
        status = train.main([*flags, "--output", str(RUN)])
        if status:
            return status
    model, class_names = load_model(RUN / "model.safetensors")
    FOLDER.mkdir(exist_ok=True)
    file = FOLDER / "built_in.safetensors"
    save_model(file, model.half(), class_names)

    shipped = from_pretrained(file, quiet=True)
    config = shipped.config
    transform = partial(normalise, mean=config.mean, std=config.std)
    _, test_set = load_fashion_mnist()
    accuracy = evaluate(shipped, Batches(test_set, 500, transform=transform))[1]
    epochs = len(pd.read_pickle(RUN / "results.pkl"))
    sizes = (
        f"P = {config.patch_size}, L = {config.depth}, D = {config.embedding_dim}, "
        f"{config.num_heads} heads, MLP size {config.mlp_size}; {epochs} epochs"
    )
    card = CARD.format(
        model=sizes,
        parameters=sum(p.numel() for p in shipped.parameters()),
        flags=" ".join(FLAGS),
        accuracy=100 * accuracy,
        checksum=hashlib.sha256(file.read_bytes()).hexdigest(),
        **describe_machine(),
    )
    (FOLDER / "README.md").write_text(card, encoding="utf-8")
    print(f"{file.name}: {file.stat().st_size / 1e6:.2f} MB, {100 * accuracy:.2f} %")
    return 0


if __name__ == "__main__":
    sys.exit(main())
