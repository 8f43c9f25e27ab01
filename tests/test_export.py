"""The model leaves Python, is copied, and is called in other ways than one by one."""

import copy
import io
import logging
import pickle
import threading
import warnings

import pytest
import torch
from test_vit import noisy_vit

from going_modular.teaching.toy import toy_config
from going_modular.variants.registers import ViTWithRegisters
from going_modular.vit import ViT


def with_registers() -> ViT:
    torch.manual_seed(1)
    model = ViTWithRegisters(toy_config(depth=2), num_registers=3)
    torch.nn.init.normal_(model.head.weight)
    return model.eval()


MODELS = {
    "plain": lambda: noisy_vit(toy_config(depth=2)).eval(),
    "with a tanh layer": lambda: noisy_vit(
        toy_config(depth=2, representation_size=12)
    ).eval(),
    "not square": lambda: noisy_vit(toy_config(depth=2, image_size=(24, 40))).eval(),
    "with registers": with_registers,
}


@pytest.fixture(params=MODELS)
def model(request) -> ViT:
    return MODELS[request.param]()


def images_for(model: ViT, count: int) -> torch.Tensor:
    shape = (count, model.config.in_channels, *model.config.image_shape)
    return torch.randn(shape, generator=torch.Generator().manual_seed(count))


def check_any_batch(model: ViT, other) -> None:
    """Another form of the model gives its logits, for batches of any size."""
    with torch.no_grad():
        for count in (1, 2, 5):
            x = images_for(model, count)
            torch.testing.assert_close(other(x), model(x), atol=1e-5, rtol=0)


def test_torch_export_takes_any_batch(model):
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(
        model, (images_for(model, 2),), dynamic_shapes=({0: batch},)
    )
    check_any_batch(model, program.module())
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    check_any_batch(model, torch.export.load(file).module())


def test_a_traced_model_takes_any_batch(model):
    with warnings.catch_warnings(action="ignore"):  # shapes are looked at once
        traced = torch.jit.trace(model, images_for(model, 2))
    check_any_batch(model, traced)


def test_onnx_runtime_gives_the_same_for_any_batch(model, tmp_path):
    runtime = pytest.importorskip("onnxruntime", reason="pip install -e .[test]")
    batch = torch.export.Dim("batch", min=1, max=64)
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    with warnings.catch_warnings(action="ignore"):  # of libraries about libraries
        torch.onnx.export(
            model,
            (images_for(model, 2),),
            tmp_path / "vit.onnx",
            dynamo=True,
            dynamic_shapes=({0: batch},),
            input_names=["images"],
            output_names=["logits"],
            verbose=False,
        )
    session = runtime.InferenceSession(tmp_path / "vit.onnx")
    with torch.no_grad():
        for count in (1, 2, 5):
            x = images_for(model, count)
            (logits,) = session.run(["logits"], {"images": x.numpy()})
            expected = model(x)
            assert expected.abs().max() > 0.1
            torch.testing.assert_close(
                torch.from_numpy(logits), expected, atol=1e-4, rtol=0
            )


def test_no_images_give_no_logits(model):
    logits = model(images_for(model, 0))
    assert logits.shape == (0, model.config.num_classes)
    logits, seen = model(images_for(model, 0), return_intermediates=True)
    assert logits.shape == (0, model.config.num_classes)
    assert seen["y"].shape == (0, model.config.embedding_dim)


def test_vmap_over_images_and_over_weights(model):
    x = images_for(model, 3)
    with torch.no_grad():
        one_by_one = torch.vmap(lambda image: model(image[None])[0])(x)
        torch.testing.assert_close(one_by_one, model(x), atol=1e-5, rtol=0)
        other = copy.deepcopy(model)
        for parameter in other.parameters():
            parameter += 0.1
        stacked = {
            name: torch.stack([value, other.state_dict()[name]])
            for name, value in model.state_dict().items()
        }

        def call(weights):
            return torch.func.functional_call(model, weights, (x,))

        both = torch.vmap(call)(stacked)
        expected = torch.stack([model(x), other(x)])
        torch.testing.assert_close(both, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("copied", ["deepcopy", "pickle"])
def test_copies_are_equal_and_of_their_own(model, copied):
    other = copy.deepcopy(model)
    if copied == "pickle":
        other = pickle.loads(pickle.dumps(model))
    x = images_for(model, 2)
    before = model(x)
    assert torch.equal(other(x), before) and other.config == model.config
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    assert torch.equal(model(x), before)


def test_eight_threads_predict_what_one_does(model):
    x = [images_for(model, 2) + seed for seed in range(8)]
    with torch.no_grad():
        expected = [model(images) for images in x]
    found = [[] for _ in x]

    def predict(place: int) -> None:
        with torch.no_grad():
            for _ in range(10):
                found[place].append(model(x[place]))

    threads = [threading.Thread(target=predict, args=(place,)) for place in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for logits, wanted in zip(found, expected, strict=True):
        assert len(logits) == 10
        assert all(torch.equal(one, wanted) for one in logits)
