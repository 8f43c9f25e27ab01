"""The loop of `engine.train`, made so that a run may stop at any step.

All that decides what comes next is in `Trainer.state_dict`: a run that goes on from it
ends with the same bits as one that never stopped.
"""

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from going_modular.data_setup import Batches
from going_modular.datasets.augmentation import Mixing
from going_modular.datasets.fast_batches import PADDING, batches_from, prefetch
from going_modular.engine import (
    RESULT_COLUMNS,
    TrainingDiverged,
    train_epoch,
    train_step,
)
from going_modular.processes.alone import ALONE, Processes
from going_modular.system.signals import Stopped, StopSignals
from going_modular.training.fast_path import FastPath, for_prediction
from going_modular.training.steps import RunSums, gradients_in_parts

__all__ = ["Trainer"]

MIXING = 2  # tells its random numbers from those of crops and of RandAugment


class Trainer:
    """Trains a model, and can be stopped and taken up again at any step.

    Attributes:
        epoch: Epochs done.
        step: Steps done in the epoch under way.
        sums: Losses and hits of these steps.
        results: As `engine.train` gives them.
        seconds: Time spent, over all sessions of the run.
        seconds_before: How much of it was spent before this session.
        waited: How much of it steps waited for their data.
        trained: What is called in training: the model on its fast path, wrapped by
            the processes.
        tested: The model that is tested in float32, on its fast path.
        rate: Learning rate of the last step.
        averaged: The model whose weights are the running average, or None.
        best: A copy with the weights of the best epoch, where a validation set says
            which that is, or None. Until an epoch beats `to_beat`, those of the start.
        to_beat: Accuracy on the validation set that the run started with.
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
        held_out: str = "test",
        to_beat: float = -1.0,
        processes: Processes = ALONE,
        precision: torch.dtype = torch.float32,
        compiled: bool = False,
        accumulate: int = 1,
        mixing: Mixing | None = None,
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
            held_out: What the test batches are called in the results: "test", or "val"
                where they decide when to stop.
            to_beat: Accuracy of the weights that the run starts with, on the validation
                images: only an epoch that does better is kept. Below 0, any does.
            watchers: Told of each step and epoch: see `training.watchers`.
            processes: Those that train together. Their batches are `FastBatches`.
            precision, compiled: How the forward pass is computed: see `fast_path`. What
                chooses the weights or the end of the run is tested in float32.
            accumulate: Parts that a batch is cut into, to need less memory.
            mixing: Mixes the images of each batch in pairs, or None.
            step_options: Further arguments of `engine.train_step`.
        """
        self.model, self.optimizer, self.schedule = model, optimizer, schedule
        self.train_batches, self.test_batches = train_batches, test_batches
        self.epochs, self.patience, self.held_out = epochs, patience, held_out
        self.watchers, self.step_options = watchers, step_options
        self.averaged, self.best, self.processes = None, None, processes
        self.accumulate, self.precision = accumulate, precision
        self.to_beat, self.mixing = to_beat, mixing
        if accumulate > 1 or processes.count > 1 or mixing is not None:
            self.step_options["gradients"] = self.gradients_in_parts
        if average:
            ema = get_ema_multi_avg_fn(average)
            self.averaged = AveragedModel(model, multi_avg_fn=ema, use_buffers=True)
            if processes.sharded:
                processes.wrap(self.averaged.module)
        if held_out == "val":
            self.best = copy.deepcopy(model)
            if processes.sharded:
                processes.wrap(self.best)
        fast = FastPath(model, precision, whole=not processes.sharded)
        if compiled:
            fast.compile()
        self.trained = processes.wrap(fast, optimizer)
        kept = model if self.averaged is None else self.averaged.module
        if precision == torch.float32 and kept is model:
            self.tested = fast  # compiled once for both
        else:
            self.tested = FastPath(kept, whole=not processes.sharded)
        self.device = next(model.parameters()).device
        self.epoch, self.step, self.sums = 0, 0, RunSums(self.batch_length)
        names = (name.replace("test", held_out) for name in RESULT_COLUMNS)
        self.results = {name: [] for name in names}
        self.seconds, self.since = 0.0, time.perf_counter()
        self.seconds_before = 0.0
        self.waited, self.rate = 0.0, highest_rate(optimizer)

    @property
    def done(self) -> bool:
        return self.epoch >= self.epochs or self.out_of_patience()

    @property
    def chooses(self) -> bool:
        """Whether tests decide which weights are kept, or when the run ends."""
        return self.held_out == "val" or self.patience > 0

    @property
    def best_epoch(self) -> int:
        """The first epoch of the highest accuracy, from 1; 0 for the start."""
        accuracies = self.results[f"{self.held_out}_acc"]
        highest = max(accuracies, default=-1.0)
        return 1 + accuracies.index(highest) if highest > self.to_beat else 0

    def out_of_patience(self) -> bool:
        if not self.patience or not self.epoch:
            return False
        return self.epoch - self.best_epoch >= self.patience

    def weights_to_keep(self) -> dict:
        """The weights that a finished run ends with.

        They are those of the best epoch, where there are validation images; otherwise
        the running average, if there is one, or those of the last step.
        """
        if self.best is not None:
            return self.best.state_dict()
        kept = self.model if self.averaged is None else self.averaged.module
        return kept.state_dict()

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
                try:
                    self.take_steps(save, save_every, signals)
                    self.end_epoch()
                except TrainingDiverged as error:
                    where = f"epoch {self.epoch + 1}"
                    raise TrainingDiverged(f"{where}: {error}") from None
                self.save_from_first(save, self.state_dict())
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
        before = [buffer.clone() for buffer in self.model.buffers()]  # of BatchNorm
        idle = torch.optim.SGD([nn.Parameter(torch.zeros(1))])  # not the model's
        self.model.train()
        train_step(self.trained, images, nothing, idle, **self.step_options)
        self.model.zero_grad()
        for buffer, value in zip(self.model.buffers(), before, strict=True):
            buffer.copy_(value)

    def gradients_in_parts(
        self, model: nn.Module, images: Tensor, labels: Tensor, **options
    ) -> tuple[Tensor, Tensor]:
        """Those of the batch of this step, in parts and over all processes."""
        return gradients_in_parts(
            model,
            images,
            labels,
            parts=self.accumulate,
            processes=self.processes,
            batch_length=self.batch_length(),
            mix=self.mix if self.mixing is not None else None,
            **options,
        )

    def mix(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mix this step's images in pairs."""
        place = (self.epoch, self.step, MIXING, self.processes.rank)
        return self.mixing(images, labels, (self.train_batches.seed, *place))

    def batch_length(self) -> int:
        """Images in the batch of this step, over all processes."""
        batches = self.train_batches
        done = self.step * batches.batch_size
        return min(batches.batch_size, len(batches.data) - done)

    def take_steps(self, save, save_every: int, signals: StopSignals) -> None:
        """Take the steps that this epoch still lacks."""

        def after_step(loss: Tensor) -> None:
            if self.averaged is not None:
                self.averaged.update_parameters(self.model)
            self.step += 1
            for watcher in self.watchers:
                watcher.after_step(self, loss)
            stop = self.processes.stop_signal(signals.received)
            if stop or (save_every and self.step % save_every == 0):
                self.save_from_first(save, self.checked_state())
            if stop:
                raise Stopped(stop)

        self.train_batches.epoch = self.epoch
        with closing(self.timed_batches(self.upcoming_batches())) as batches:
            train_epoch(
                self.trained,
                batches,
                self.optimizer,
                after_step,
                self.sums,
                schedule=self.schedule,
                **self.step_options,
            )

    def upcoming_batches(self) -> Iterator:
        """The batches of this epoch, made ahead where the step leaves the CPU free."""
        batches = batches_from(self.train_batches, self.step)
        if self.device.type == "cpu":  # the thread would slow the step to half
            return batches
        return prefetch(batches)

    def timed_batches(self, batches: Iterator) -> Iterator:
        """The same batches; `waited` grows by the time that each was waited for."""
        with closing(batches):
            while True:
                asked = time.perf_counter()
                batch = next(batches, None)
                self.waited += time.perf_counter() - asked
                if batch is None:
                    return
                seed = self.train_batches.seed
                self.processes.begin_step(seed, self.epoch, self.step)
                self.rate = highest_rate(self.optimizer)
                yield batch

    def end_epoch(self) -> None:
        """Test, and begin the next epoch's sums."""
        test = self.processes.evaluate(self.model_to_test(), self.test_batches)
        if not math.isfinite(test[0]):
            raise TrainingDiverged(f"test loss became {test[0]}")
        figures = (*self.sums.means(), *test)
        for column, value in zip(self.results.values(), figures, strict=True):
            column.append(value)
        if self.best is not None and self.best_epoch == self.epoch + 1:
            self.best.load_state_dict(self.tested.model.state_dict())
        self.epoch, self.step, self.sums = self.epoch + 1, 0, RunSums(self.batch_length)
        for watcher in self.watchers:
            watcher.after_epoch(self)

    def model_to_test(self) -> nn.Module:
        """The model as it predicts; in float32 where it chooses, rounding must not."""
        if self.chooses or self.precision == torch.float32:
            return self.tested
        sharded = self.processes.sharded
        return for_prediction(self.tested.model, self.precision, whole=not sharded)

    def save_from_first(self, save: Callable[[dict], None], state: dict) -> None:
        """Let the first process save, and the others wait for it."""
        if self.processes.is_first:
            save(state)
        self.processes.wait()

    def checked_state(self) -> dict:
        """The state, which is no use if a loss or a weight is no finite number."""
        self.sums.look()
        if not all(p.isfinite().all() for p in self.model.parameters()):
            raise TrainingDiverged(
                f"a weight is no number after step {self.step} of the epoch: lower "
                "the learning rate"
            )
        return self.state_dict()

    def parts(self) -> dict:
        """All that has a state of its own."""
        parts = {"model": self.model, "optimizer": self.optimizer}
        parts |= {"schedule": self.schedule, "sums": self.sums}
        if self.averaged is not None:
            parts["averaged"] = self.averaged
        if self.best is not None:
            parts["best"] = self.best
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
            "to_beat": self.to_beat,
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
        for name in ("seconds", "waited", "rate", "to_beat"):
            setattr(self, name, state[name])
        self.seconds_before = self.seconds
        torch.set_rng_state(state["random_state"])
        kind = self.device.type
        if kind in state["device_random_state"]:
            device = torch.get_device_module(kind)
            device.set_rng_state(state["device_random_state"][kind], self.device)


def highest_rate(optimizer: torch.optim.Optimizer) -> float:
    """The learning rate, which may be lower for some layers."""
    return max(group["lr"] for group in optimizer.param_groups)
