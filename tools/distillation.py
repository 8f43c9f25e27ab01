"""Teaching a Vision Transformer by a convolutional network: one loop for both.

Both see each image in a fixed number of views, windows with a part erased, drawn once.
So what the teacher says of every view can be computed before, once, and the student has
it beside the labels.

Source: Hinton et al., arXiv 1503.02531; a student that sees what its teacher sees, for
long: Beyer et al., arXiv 2106.05237.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from going_modular.data_setup import ImageSet, normalise
from going_modular.datasets.windows import random_windows, stretch_windows
from going_modular.optimization import build_optimizer, build_schedule
from going_modular.system.files import write_file
from going_modular.utils import random_stream, set_seeds

__all__ = ["Lesson", "Views", "learn", "logits_of_views"]


@dataclass(frozen=True)
class Views:
    """Each image in so many views: through a window, half mirrored, a part erased.

    Attributes:
        count: How many there are of each image.
        area: The least share of the image that a window shows.
        erased: The longest side of what is erased, as a share of the image's.
        seed: Of the draw.
    """

    count: int = 12
    area: float = 0.6
    erased: float = 0.4
    seed: int = 0

    def draw(self, view: int, images: int) -> tuple[Tensor, Tensor]:
        """(n, 2, 3) windows and (n, 4) boxes, with which a view shows n images."""
        stream = random_stream(self.seed, view)
        windows = random_windows(images, self.area, stream)  # (n, 2, 3)
        sides = self.erased * torch.rand(images, 2, generator=stream)  # (n, 2)
        corners = torch.rand(images, 2, generator=stream) * (1 - sides)  # (n, 2)
        return windows, torch.cat([corners, corners + sides], dim=1)  # (n, 4)


def show(images: Tensor, windows: Tensor, boxes: Tensor) -> Tensor:
    """(B, 1, H, W) floats: bytes through windows, grey where they are erased."""
    x = stretch_windows(normalise(images), windows)
    rows, columns = (torch.arange(side) + 0.5 for side in x.shape[2:])
    top, left, bottom, right = (boxes.T * x.shape[2])[:, :, None]  # each (B, 1)
    inside = ((rows >= top) & (rows < bottom))[:, :, None]  # (B, H, 1)
    inside = inside & ((columns >= left) & (columns < right))[:, None]  # (B, H, W)
    return x.masked_fill(inside[:, None], 0.0)


@dataclass(frozen=True)
class Lesson:
    """How one of the two learns.

    Attributes:
        epochs: How often all images are seen, each time in another view.
        batch_size, learning_rate, weight_decay: As anywhere.
        warmup: Share of the steps in which the rate grows.
        average: Share of itself that the running average of the weights keeps at each
            step; the average is what comes out.
        taught: Share of the loss that compares with the teacher, not with the label.
        temperature: By which both divide their logits for that.
        smoothing: Share of a label that all classes get.
    """

    epochs: int
    batch_size: int = 100
    learning_rate: float = 1e-3
    weight_decay: float = 0.1
    warmup: float = 0.05
    average: float = 0.999
    taught: float = 0.0
    temperature: float = 2.0
    smoothing: float = 0.05

    def loss(self, logits: Tensor, labels: Tensor, told: Tensor | None) -> Tensor:
        """Cross-entropy with the labels and, with a share, with what a teacher said.

        Args:
            logits: (B, K).
            labels: (B,).
            told: (B, K) logits of the teacher; None without one.
        """
        own = F.cross_entropy(logits, labels, label_smoothing=self.smoothing)
        if told is None:
            return own
        T = self.temperature
        soft = F.cross_entropy(logits / T, (told / T).softmax(dim=1))
        return (1 - self.taught) * own + self.taught * T * T * soft


def learn(
    build: Callable[[], nn.Module],
    data: ImageSet,
    lesson: Lesson,
    views: Views,
    file: Path,
    told: Tensor | None = None,
    wrap: Callable[[nn.Module], nn.Module] = lambda model: model,
    seed: int = 0,
) -> nn.Module:
    """Train, or go on where a run stopped, and give the averaged model.

    Args:
        build: Builds the model.
        data: The images.
        lesson: How it learns.
        views: How it sees them.
        file: Holds the state after each epoch.
        told: (views, n, K) logits of a teacher.
        wrap: What computes the model's logits in training.
        seed: Of the start and of the order.
    """
    set_seeds(seed)
    model = build()
    averaged = copy.deepcopy(model)
    optimizer = build_optimizer(model, lesson.learning_rate, lesson.weight_decay)
    steps = lesson.epochs * -(-len(data) // lesson.batch_size)
    schedule = build_schedule(optimizer, steps, round(lesson.warmup * steps))
    parts = dict(model=model, averaged=averaged, optimizer=optimizer, schedule=schedule)
    first = 0
    if file.exists():
        state = torch.load(file, weights_only=True)
        first = state.pop("epoch")
        for name, part in parts.items():
            part.load_state_dict(state[name])
    computing = wrap(model)
    for epoch in range(first, lesson.epochs):
        view = epoch % views.count
        windows, boxes = views.draw(view, len(data))
        order = torch.randperm(len(data), generator=random_stream(seed, 1, epoch))
        computing.train()
        total = 0.0
        for places in order.split(lesson.batch_size):
            x = show(data.images[places], windows[places], boxes[places])
            says = None if told is None else told[view, places]  # (B, K)
            loss = lesson.loss(computing(x).float(), data.labels[places], says)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            follow(averaged, model, min(lesson.average, 1 - 1 / schedule.last_epoch))
            total += loss.item() * len(places)
        print(
            f"epoch {epoch + 1} of {lesson.epochs}: {total / len(data):.4f}", flush=True
        )
        state = {name: part.state_dict() for name, part in parts.items()}
        state["epoch"] = epoch + 1
        write_file(file, partial(torch.save, state))
    return averaged.eval()


@torch.no_grad()
def follow(averaged: nn.Module, model: nn.Module, kept: float) -> None:
    """Let the running average come nearer to the weights; buffers are copied."""
    pairs = zip(averaged.parameters(), model.parameters(), strict=True)
    for mean, weight in pairs:
        mean.lerp_(weight, 1 - kept)
    for mean, buffer in zip(averaged.buffers(), model.buffers(), strict=True):
        mean.copy_(buffer)


@torch.inference_mode()
def logits_of_views(model: nn.Module, data: ImageSet, views: Views) -> Tensor:
    """(views, n, K): what a model says of every view of every image."""
    found = []
    for view in range(views.count):
        windows, boxes = views.draw(view, len(data))
        batches = torch.arange(len(data)).split(500)
        said = [model(show(data.images[b], windows[b], boxes[b])) for b in batches]
        found.append(torch.cat(said).float())  # (n, K)
    return torch.stack(found)  # (views, n, K)
