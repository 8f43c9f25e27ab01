"""How the built-in weights are trained: views, the loss with a teacher, going on."""

import hashlib
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from experiments.contenders import ResNet
from going_modular.data_setup import load_builtin, normalise
from tools import distillation, make_pretrained
from tools.distillation import Lesson, Views, learn, logits_of_views, show

FEW = load_builtin()[0].subset(slice(None, None, 400))  # 34 images


def test_a_view_is_the_same_whenever_it_is_drawn():
    views = Views(count=3)
    first, again = (show(FEW.images, *views.draw(view, len(FEW))) for view in (1, 1))
    other = show(FEW.images, *views.draw(2, len(FEW)))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert first.shape == FEW.images.shape and first.abs().max() <= 1


def test_a_whole_window_without_a_box_shows_the_image():
    windows, boxes = Views(area=1.0, erased=0.0).draw(0, len(FEW))
    shown, x = show(FEW.images, windows, boxes), normalise(FEW.images)
    mirrored = windows[:, 0, 0] < 0
    assert mirrored.any() and not mirrored.all()
    torch.testing.assert_close(shown[~mirrored], x[~mirrored], atol=1e-5, rtol=0)
    torch.testing.assert_close(shown[mirrored], x[mirrored].flip(3), atol=1e-5, rtol=0)


def test_a_box_is_grey_and_nothing_else_is():
    windows = torch.eye(2, 3).expand(len(FEW), 2, 3)
    boxes = torch.tensor([0.25, 0.5, 0.5, 1.0]).expand(len(FEW), 4)
    shown, x = show(FEW.images, windows, boxes), normalise(FEW.images)
    assert not shown[:, :, 7:14, 14:].any()
    x[:, :, 7:14, 14:] = 0
    torch.testing.assert_close(shown, x, atol=1e-5, rtol=0)


def test_the_loss_is_shared_between_labels_and_teacher():
    stream = torch.Generator().manual_seed(0)
    logits, told = torch.randn(2, 5, 10, generator=stream)
    labels = torch.arange(5)
    lesson = Lesson(epochs=1, taught=0.75, temperature=2.0, smoothing=0.1)
    own = F.cross_entropy(logits, labels, label_smoothing=0.1)
    assert lesson.loss(logits, labels, None) == own
    p, q = (told / 2).softmax(1), (logits / 2).log_softmax(1)
    expected = 0.25 * own + 0.75 * 4 * -(p * q).sum(1).mean()
    torch.testing.assert_close(lesson.loss(logits, labels, told), expected)
    # All of it from a teacher who says the same: nothing to learn.
    logits.requires_grad_()
    replace(lesson, taught=1.0).loss(logits, labels, logits.detach()).backward()
    assert logits.grad.abs().max() < 1e-6


def small() -> nn.Module:
    return ResNet(widths=(4, 8))


LESSON = Lesson(epochs=3, batch_size=10)


def test_a_run_that_was_stopped_ends_with_the_same_numbers(tmp_path, monkeypatch):
    views = Views(count=2)
    whole = learn(small, FEW, LESSON, views, tmp_path / "whole.pt")
    save, saved = torch.save, []

    def stop_after_two(*arguments):
        if len(saved) == 2:
            raise KeyboardInterrupt
        saved.append(save(*arguments))

    monkeypatch.setattr(distillation.torch, "save", stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        learn(small, FEW, LESSON, views, tmp_path / "run.pt")
    monkeypatch.undo()
    again = learn(small, FEW, LESSON, views, tmp_path / "run.pt")
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_a_teacher_says_something_of_every_view(tmp_path):
    views = Views(count=2)
    model = learn(small, FEW, LESSON, views, tmp_path / "run.pt")
    said = logits_of_views(model, FEW, views)
    assert said.shape == (2, len(FEW), 10)
    with torch.inference_mode():
        expected = model(show(FEW.images, *views.draw(1, len(FEW))))
    torch.testing.assert_close(said[1], expected)


def test_the_tool_writes_weights_and_their_card(tmp_path, capsys):
    assert make_pretrained.main(["--smoke", str(tmp_path)]) == 0
    weights = (tmp_path / "built_in.safetensors").read_bytes()
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert f"`{hashlib.sha256(weights).hexdigest()}`" in card
    assert len(weights) < 3_000_000 and "teacher" in card
    assert "built_in.safetensors: 1.37 MB" in capsys.readouterr().out
