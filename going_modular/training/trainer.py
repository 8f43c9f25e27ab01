"""The loop of `engine.train`, made so that a run may stop at any step.

All that decides what comes next is in `Trainer.state_dict`: a run that goes on from it
ends with the same bits as one that never stopped.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from going_modular.data_setup import Batches
from going_modular.datasets.fast_batches import prefetch
from going_modular.engine import RESULT_COLUMNS, TrainingDiverged
from going_modular.processes.alone import ALONE, Processes
from going_modular.processes.together import PADDING
from going_modular.system.signals import Stopped, StopSignals

__all__ = ["Sums", "Trainer", "gradient_step"]

CHECK_EVERY = 50  # steps from one look at the loss to the next: looking waits for it


def gradient_step(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    optimizer: torch.optim.Optimizer,
    clip_norm: float | None = 1.0,
    label_smoothing: float = 0.0,
    precision: torch.dtype = torch.float32,
    accumulate: int = 1,
    processes: Processes = ALONE,
    of: int | None = None,
) -> tuple[Tensor, Tensor]:
    """What `engine.train_step` does, with the batch cut into parts.

    The gradients of the parts add up to that of the whole batch, in the memory that
    one part needs.

    Args:
        model, images, labels, optimizer, clip_norm, label_smoothing, precision: As for
            `engine.train_step`.
        accumulate: How many parts.
        processes: Where there are several, these are the images of one, as `Shares`
            gives them, and all of them take the step together.
        of: Images in the batches of all processes, padding left out.

    Returns:
        The mean loss of the whole batch, and how many images were classified rightly.
    """
    optimizer.zero_grad()
    total, right = 0.0, 0
    autocast = precision != torch.float32
    smooth = dict(label_smoothing=label_smoothing)
    x_parts, y_parts = images.chunk(accumulate), labels.chunk(accumulate)
    for x, y in zip(x_parts, y_parts, strict=True):
        last = y is y_parts[-1]
        with nullcontext() if last else processes.skip_sync(model):
            with torch.autocast(x.device.type, dtype=precision, enabled=autocast):
                logits = model(x)  # (B / accumulate, K)
            if processes.count == 1:
                loss = F.cross_entropy(logits.float(), y, **smooth)
                if accumulate > 1:
                    loss = loss * (len(y) / len(labels))
                loss.backward()
            else:  # padding counts for nothing; processes' gradients are averaged
                loss = F.cross_entropy(logits.float(), y, reduction="sum", **smooth)
                loss = loss / of
                (loss * processes.count).backward()
        total = total + loss.detach()
        right = right + (logits.argmax(dim=1) == y).sum()
    if clip_norm is not None:
        nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    optimizer.step()
    return processes.total(total, right)


class Sums:
    """Sums over the images of an epoch, kept on the device: reading them waits for it.

    Attributes:
        loss: Sum of the images' losses.
        correct: Images classified rightly.
        seen: Images so far.
        finite: Steps so far whose loss, and every one before, was a finite number.
    """

    def __init__(self, device: torch.device):
        self.loss = torch.zeros((), dtype=torch.float64, device=device)
        self.correct = torch.zeros((), dtype=torch.int64, device=device)
        self.finite = torch.zeros((), dtype=torch.int64, device=device)
        self.seen = 0

    def add(self, loss: Tensor, correct: Tensor, count: int) -> None:
        self.loss += loss.double() * count
        self.finite += torch.isfinite(self.loss)
        self.correct += correct
        self.seen += count

    def means(self) -> tuple[float, float]:
        """Mean loss and accuracy."""
        return self.loss.item() / self.seen, self.correct.item() / self.seen

    def state_dict(self) -> dict:
        return {
            "loss": self.loss.item(),
            "correct": self.correct.item(),
            "finite": self.finite.item(),
            "seen": self.seen,
        }

    def load_state_dict(self, state: dict) -> None:
        self.loss.fill_(state["loss"])
        self.correct.fill_(state["correct"])
        self.finite.fill_(state["finite"])
        self.seen = state["seen"]


class Trainer:
    """Trains a model, and can be stopped and taken up again at any step.

    Attributes:
        epoch: Epochs done.
        step: Steps done in the epoch under way.
        sums: Losses and hits of these steps.
        results: As `engine.train` gives them.
        seconds: Time spent, over all sessions of the run.
        waited: How much of it steps waited for their data.
        trained: What is called in training: the model, wrapped by the processes.
        rate: Learning rate of the last step.
        averaged: The model whose weights are the running average, or None.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
        train_batches: Batches,
        test_batches: Batches,
        epochs: int,
        average: float = 0.0,
        patience: int = 0,
        watchers: Sequence = (),
        processes: Processes = ALONE,
        **step_options,
    ):
        """Prepare a run.

        Args:
            model, optimizer, schedule: What learns, and how.
            train_batches, test_batches, epochs: As for `engine.train`.
            average: Share of the running average that a step keeps; 0 for none. Where
                there is one, it is what is tested.
            patience: Stop after so many epochs without a better test accuracy; 0
                never stops early.
            watchers: Told of each step and epoch: see `training.watchers`.
            processes: Those that train together. Their batches are `Shares`.
            step_options: Further arguments of `steps.gradient_step`.
        """
        self.model, self.optimizer, self.schedule = model, optimizer, schedule
        self.train_batches, self.test_batches = train_batches, test_batches
        self.epochs, self.patience = epochs, patience
        self.watchers, self.step_options = watchers, step_options
        self.averaged, self.processes = None, processes
        if average:
            ema = get_ema_multi_avg_fn(average)
            self.averaged = AveragedModel(model, multi_avg_fn=ema, use_buffers=True)
            if processes.sharded:
                processes.wrap(self.averaged.module)
        self.trained = processes.wrap(model, optimizer)
        self.device = next(model.parameters()).device
        self.epoch, self.step, self.sums = 0, 0, Sums(self.device)
        self.results = {column: [] for column in RESULT_COLUMNS}
        self.seconds, self.since = 0.0, time.perf_counter()
        self.waited, self.rate = 0.0, optimizer.param_groups[0]["lr"]

    @property
    def tested(self) -> nn.Module:
        """The model that is evaluated and kept: the running average, if there is."""
        return self.model if self.averaged is None else self.averaged.module

    @property
    def done(self) -> bool:
        return self.epoch >= self.epochs or self.out_of_patience()

    def out_of_patience(self) -> bool:
        accuracies = self.results["test_acc"]
        if not self.patience or not accuracies:
            return False
        best = accuracies.index(max(accuracies))
        return len(accuracies) - 1 - best >= self.patience

    def train(
        self, save: Callable[[dict], None], save_every: int = 0
    ) -> dict[str, list[float]]:
        """Train until the epochs are done or patience is out.

        Args:
            save: Keeps a state: after each epoch, and before the run stops.
            save_every: Steps after which it is called as well; 0 for never.

        Raises:
            TrainingDiverged: The loss is no longer a finite number.
            Stopped: A signal came; the state is saved.
        """
        self.since = time.perf_counter()
        with StopSignals() as signals:
            if self.processes.count > 1 and not self.done:
                self.settle()
            while not self.done:
                self.train_epoch(save, save_every, signals)
                self.end_epoch()
                self.keep(save, self.state_dict())
                stop = self.processes.stop_signal(signals.received, now=True)
                if stop and not self.done:
                    raise Stopped(stop)
        return self.results

    def settle(self) -> None:
        """Let several processes take a step that changes nothing.

        DDP sums gradients in buckets, and lays these out anew after its first step. The
        order of a sum decides its last bits, and should be the same when a run goes on.
        """
        images, labels = next(iter(self.train_batches))
        nothing = torch.full_like(labels, PADDING)
        idle = torch.optim.SGD([nn.Parameter(torch.zeros(1))])  # not the model's
        self.model.train()
        self.take_step(images, nothing, idle, count=1)
        self.model.zero_grad()

    def take_step(
        self,
        images: Tensor,
        labels: Tensor,
        optimizer: torch.optim.Optimizer,
        count: int,
    ) -> tuple[Tensor, Tensor]:
        """`gradient_step` on a batch that has `count` images over all processes."""
        together = dict(processes=self.processes, of=count, **self.step_options)
        return gradient_step(self.trained, images, labels, optimizer, **together)

    def keep(self, save: Callable[[dict], None], state: dict) -> None:
        """Let the first process save, and the others wait for it."""
        if self.processes.is_first:
            save(state)
        self.processes.wait()

    def train_epoch(self, save, save_every: int, signals: StopSignals) -> None:
        self.model.train()
        self.train_batches.epoch, self.train_batches.first = self.epoch, self.step
        with closing(self.timed(self.coming())) as batches:
            for images, labels in batches:
                count = self.batch_length()
                seed = self.train_batches.seed
                self.processes.begin_step(seed, self.epoch, self.step)
                loss, correct = self.take_step(images, labels, self.optimizer, count)
                self.rate = self.optimizer.param_groups[0]["lr"]
                self.schedule.step()
                if self.averaged is not None:
                    self.averaged.update_parameters(self.model)
                self.sums.add(loss, correct, count)
                self.step += 1
                if self.step % CHECK_EVERY == 0:
                    self.check_finite()
                for watcher in self.watchers:
                    watcher.after_step(self, loss)
                stop = self.processes.stop_signal(signals.received)
                if stop or (save_every and self.step % save_every == 0):
                    self.keep(save, self.checked_state())
                if stop:
                    raise Stopped(stop)

    def coming(self) -> Iterator:
        """The batches of this epoch, made ahead where the step leaves the CPU free."""
        if self.device.type == "cpu":  # the thread would slow the step to half
            return (batch for batch in self.train_batches)
        return prefetch(self.train_batches)

    def batch_length(self) -> int:
        """Images in the batch of this step, over all processes."""
        batches = self.train_batches
        return min(
            batches.batch_size, len(batches.data) - self.step * batches.batch_size
        )

    def timed(self, batches: Iterator) -> Iterator:
        """The same batches; `waited` grows by the time that each was waited for."""
        with closing(batches):
            while True:
                asked = time.perf_counter()
                batch = next(batches, None)
                self.waited += time.perf_counter() - asked
                if batch is None:
                    return
                yield batch

    def end_epoch(self) -> None:
        """Test, and begin the next epoch's sums."""
        self.check_finite()
        test = self.processes.evaluate(self.tested, self.test_batches)
        figures = (*self.sums.means(), *test)
        if not math.isfinite(figures[2]):
            raise TrainingDiverged(
                f"epoch {self.epoch + 1}: test loss became {figures[2]}"
            )
        for column, value in zip(RESULT_COLUMNS, figures, strict=True):
            self.results[column].append(value)
        self.epoch, self.step, self.sums = self.epoch + 1, 0, Sums(self.device)
        for watcher in self.watchers:
            watcher.after_epoch(self)

    def check_finite(self) -> None:
        """Raise an error if a loss of this epoch was no finite number."""
        if not torch.isfinite(self.sums.loss):
            raise TrainingDiverged(
                f"epoch {self.epoch + 1}: loss became {self.sums.loss.item()} at step "
                f"{self.sums.finite.item() + 1} of the epoch (learning rate now "
                f"{self.rate:.2g}): lower the learning rate"
            )

    def checked_state(self) -> dict:
        """The state, which is no use if a loss or a weight is no finite number."""
        self.check_finite()
        if not all(p.isfinite().all() for p in self.model.parameters()):
            raise TrainingDiverged(
                f"epoch {self.epoch + 1}: a weight is no number after step "
                f"{self.step} of the epoch: lower the learning rate"
            )
        return self.state_dict()

    def parts(self) -> dict:
        parts = {"model": self.model, "optimizer": self.optimizer}
        parts |= {"schedule": self.schedule, "sums": self.sums}
        if self.averaged is not None:
            parts["averaged"] = self.averaged
        return parts

    def state_dict(self) -> dict:
        """All that decides how the run goes on."""
        now = time.perf_counter()
        self.seconds, self.since = self.seconds + now - self.since, now
        parts = {name: part.state_dict() for name, part in self.parts().items()}
        return {
            **self.processes.whole(parts),
            "epoch": self.epoch,
            "step": self.step,
            "results": self.results,
            "seconds": self.seconds,
            "waited": self.waited,
            "rate": self.rate,
            "random_state": torch.get_rng_state(),
            "device_random_state": self.device_random_state(),
        }

    def device_random_state(self) -> dict[str, Tensor]:
        """That of the device's own generator, by the kind of device, where it counts.

        Several processes draw anew for each step.
        """
        kind = self.device.type
        if self.processes.count > 1 or kind == "cpu":
            return {}
        return {kind: torch.get_device_module(kind).get_rng_state(self.device)}

    def load_state_dict(self, state: dict) -> None:
        for name, part in self.parts().items():
            part.load_state_dict(self.processes.spread(part, state[name]))
        self.epoch, self.step = state["epoch"], state["step"]
        self.results = state["results"]
        for name in ("seconds", "waited", "rate"):
            setattr(self, name, state[name])
        torch.set_rng_state(state["random_state"])
        kind = self.device.type
        if kind in state["device_random_state"]:
            device = torch.get_device_module(kind)
            device.set_rng_state(state["device_random_state"][kind], self.device)
