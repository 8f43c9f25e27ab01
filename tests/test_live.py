"""The live model in a real browser: PyTorch's numbers, and all its controls."""

import base64
import json
import struct
from dataclasses import replace

import numpy as np
import pytest
import torch
from browser import open_browser, open_file, require_browser
from PIL import Image
from safetensors.torch import save

import explain
from going_modular.checkpoint import save_model
from going_modular.config import ViTConfig
from going_modular.data_setup import load_builtin, normalise
from going_modular.explorer.bundle import bundle, read_part
from going_modular.explorer.live_page import example_images, live_page, to_bytes
from going_modular.hybrid import HybridViT
from going_modular.pretrained import from_pretrained
from going_modular.variants.conv_stem import ViTWithConvStem
from going_modular.vit import ViT

TINY = ViTConfig(
    image_size=(12, 20),
    patch_size=4,
    in_channels=3,
    embedding_dim=12,
    depth=3,
    num_heads=3,
    mlp_size=20,
    num_classes=5,
    gelu="tanh",
    mean=(0.4, 0.5, 0.6),
    std=(0.2, 0.3, 0.25),
)
NAMES = ("<b>cat</b>", "dog", "Ωmega", "shoe", "a class of a very long name indeed")


@pytest.fixture(scope="module")
def browser():
    with open_browser(require_browser()) as opened:
        yield opened


def random_model(config: ViTConfig, kind=ViT) -> ViT:
    """A model in which no weight is zero, so that every one of them counts."""
    torch.manual_seed(0)
    model = kind(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.3 * torch.randn_like(weight) / weight[0].numel() ** 0.5)
        for name, buffer in model.named_buffers():
            if name.endswith("running_var"):
                buffer.uniform_(0.5, 2)
            elif name.endswith("running_mean"):
                buffer.normal_()
    return model


class Live:
    """The page of a model, and ways to ask it."""

    def __init__(self, browser, folder, model, names, image=None, **options):
        path = folder / "live.html"
        path.write_text(live_page(model, names, image, "a picture"), encoding="utf-8")
        self.page = open_file(browser, path, **options)
        self.root = self.page.locator(".ae-live")
        self.root.locator(".ae-predictions li").first.wait_for()

    def ask(self, script: str, value=None):
        return self.root.evaluate(
            f"async (root, value) => ({script})(root.handle, value)", value
        )

    def update(self, **changes) -> None:
        self.ask("(handle, changes) => handle.update(changes).then(() => 0)", changes)

    def change(self, **changes) -> None:
        """Change what the model computes, not the image."""
        all_of_them = {"positions": True, "temperature": 1, "noResidual": []} | changes
        self.update(changes=all_of_them)

    def numbers(self, of: str) -> np.ndarray:
        """An array of what the model gave, such as "layers[0].z"."""
        text = self.ask(
            "(handle, of) => { const found = new Function('seen', `return seen.${of}`)"
            "(handle.seen()); const bytes = new Uint8Array(Float64Array.from(found)"
            ".buffer); let text = ''; for (const byte of bytes) text += "
            "String.fromCharCode(byte); return btoa(text); }",
            of,
        )
        return np.frombuffer(base64.b64decode(text), np.float64)

    def show(self, images: torch.Tensor) -> None:
        """Give the model an image, (C, H, W) bytes."""
        self.ask(
            "(handle, bytes) => handle.take(Uint8Array.from(bytes), 'it')"
            ".then(() => 0)",
            images.flatten().tolist(),
        )

    def settle(self) -> None:
        """Wait until the model has answered."""
        self.ask("(handle) => handle.settled().then(() => 0)")

    def free(self) -> None:
        self.choose("free", "Way through")

    def choose(self, label: str, group: str) -> None:
        fieldset = self.root.get_by_role("group", name=group)
        fieldset.get_by_role("radio", name=label, exact=True).check(force=True)

    def patch(self, number: int):
        return self.root.get_by_role("gridcell").nth(number)

    def message(self) -> str:
        return self.root.locator(".ae-message").text_content()

    def guess(self) -> str:
        return self.root.locator(".ae-predictions li .ae-name").first.text_content()

    def drop(self, path) -> None:
        kind = "model" if path.suffix == ".safetensors" else "photo"
        field = self.root.locator("label", has_text=f"Your {kind}").locator("input")
        field.set_input_files(path)
        self.page.wait_for_timeout(300)
        self.settle()


@pytest.fixture(scope="module")
def live(browser, tmp_path_factory):
    """The page of the built-in model."""
    model = from_pretrained("built-in", quiet=True)
    opened = Live(
        browser, tmp_path_factory.mktemp("live"), model, load_builtin()[1].class_names
    )
    opened.model = model
    yield opened
    assert opened.page.complaints == []
    blobs = [r for r in opened.page.requests if not r.startswith(("file:", "blob:"))]
    assert blobs == []


def intermediates(model: ViT, images: torch.Tensor) -> dict[str, np.ndarray]:
    """What PyTorch has for one image, under the names of the page."""
    x = normalise(images[None], model.config.mean, model.config.std)
    inside = {}

    def keep(name, place):
        def hook(module, args, output):
            inside[f"layers[{place}].{name}"] = (
                output[0] if isinstance(output, tuple) else output
            )

        return hook

    hooks = []
    for place, block in enumerate(model.encoder.blocks):
        parts = {
            "norm1": block.msa_block.layer_norm,
            "qkv": block.msa_block.msa.qkv,
            "msa": block.msa_block.msa,
            "norm2": block.mlp_block.layer_norm,
            "hidden": block.mlp_block.mlp.linear_1,
            "mlp": block.mlp_block.mlp,
        }
        for name, part in parts.items():
            hooks.append(part.register_forward_hook(keep(name, place)))
    with torch.no_grad():
        logits, seen = model(x, return_intermediates=True)
    for hook in hooks:
        hook.remove()
    for layer in range(1, model.config.depth + 1):
        for ours, theirs in ("attention", "attention"), ("zPrime", "z_prime"):
            inside[f"layers[{layer - 1}].{ours}"] = seen[f"{theirs}_{layer}"]
        inside[f"layers[{layer - 1}].z"] = seen[f"z_{layer}"]
        with torch.no_grad():
            lens = model.head(model.layer_norm(seen[f"z_{layer}"]))
        inside[f"lens[{layer}]"] = lens
    if type(model) is ViT:
        inside["patches"] = seen["patches"]
    inside |= {"z0": seen["z0"], "y": seen["y"], "logits": logits}
    return {name: tensor.flatten().numpy() for name, tensor in inside.items()}


def assert_same(live: Live, expected: dict[str, np.ndarray]) -> None:
    for name, numbers in expected.items():
        np.testing.assert_allclose(live.numbers(name), numbers, rtol=0, atol=1e-4)


def test_every_intermediate_of_ten_images_is_pytorchs(live):
    images, _ = example_images()
    for image in images:
        live.show(image)
        expected = intermediates(live.model, image)
        assert np.abs(expected["logits"]).max() > 1
        assert len(expected) == 6 * 10 + 4
        assert_same(live, expected)


@pytest.mark.parametrize(
    "model",
    [
        lambda: random_model(TINY),
        lambda: random_model(replace(TINY, representation_size=7, gelu="erf")),
        lambda: random_model(
            replace(TINY, image_size=32, patch_size=8, num_heads=1), ViTWithConvStem
        ),
    ],
    ids=["colour", "pre-training head", "convolutional stem"],
)
def test_other_models_give_pytorchs_numbers(model, browser, tmp_path):
    model = model()
    stream = torch.Generator().manual_seed(1)
    shape = (3, *model.config.image_shape)
    image = torch.randint(0, 256, shape, generator=stream, dtype=torch.uint8)
    live = Live(browser, tmp_path, model, NAMES, image)
    assert_same(live, intermediates(model, image))
    assert_sums_hold(live)
    assert live.page.complaints == []


class Plain(torch.nn.Module):
    """A block of which a residual is taken away."""

    def __init__(self, block):
        super().__init__()
        self.block = block

    def forward(self, z, return_attention=False):
        if return_attention:
            out, attention = self.block(z, return_attention=True)
            return out - z, attention
        return self.block(z) - z

    def __getattr__(self, name):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.block, name)


def test_what_is_taken_away_is_taken_away_in_pytorch_too(live):
    image, _ = example_images()
    live.show(image[3])
    without = {
        "positions": False,
        "temperature": 2.5,
        "noResidual": ["msa 2", "mlp 5"],
    }
    for name, value in without.items():
        model = from_pretrained("built-in", quiet=True).eval()
        blocks = model.encoder.blocks
        with torch.no_grad():
            if name == "positions":
                model.patch_embedding.position_embedding.zero_()
            elif name == "temperature":
                for block in blocks:
                    D = model.config.embedding_dim
                    block.msa_block.msa.qkv.weight[:D] /= value
                    block.msa_block.msa.qkv.bias[:D] /= value
            else:
                blocks[1].msa_block = Plain(blocks[1].msa_block)
                blocks[4].mlp_block = Plain(blocks[4].mlp_block)
        live.change(**{name: value})
        x = normalise(image[3][None])
        with torch.inference_mode():
            expected = model(x)[0].numpy()
            usual = live.model(x)[0].numpy()
        assert np.abs(expected - usual).max() > 0.01
        np.testing.assert_allclose(live.numbers("logits"), expected, atol=1e-4)
    live.change()


def test_grey_and_swapped_patches_are_those_of_the_image(live):
    images, _ = example_images()
    image = images[8]
    live.show(image)
    live.update(grey=[24, 0], order=[1, 0, *range(2, 49)])
    changed = image.clone()
    changed[:, :4, 4:8] = image[:, :4, :4]
    changed[:, :4, :4] = 128
    changed[:, 12:16, 12:16] = 128
    expected = intermediates(live.model, changed)
    np.testing.assert_allclose(live.numbers("logits"), expected["logits"], atol=1e-4)
    assert "Before your changes: Bag" in live.root.text_content()
    live.root.get_by_role("button", name="Undo").click()
    live.settle()
    expected = intermediates(live.model, image)
    np.testing.assert_allclose(live.numbers("logits"), expected["logits"], atol=1e-4)


SUMS = """(handle, seed) => {
  let state = seed;
  const random = (n) => (state = (state * 1103515245 + 12345) % 2147483648) % n;
  const { T, D, F, K, depth, heads, patchDim } = handle.sizes();
  const seen = handle.seen();
  const places = {
    pixel: [1, T, patchDim], token: [1, T, D], position: [0, T, D], z0: [0, T, D],
    norm1: [0, T, D], qkv: [0, T, 3 * D], score: [0, T, T], attention: [0, T, T],
    mean: [0, T, T], values: [0, T, D], msa: [0, T, D], zPrime: [0, T, D],
    norm2: [0, T, D], hidden: [0, T, F], active: [0, T, F], mlp: [0, T, D],
    z: [0, T, D], read: [0, T, D], logit: [0, T, K], probability: [0, T, K],
  };
  const stored = (a) => {
    const { what, layer: l, row, column, head } = a;
    const here = seen.layers[l - 1];
    const width = { qkv: 3 * D, hidden: F }[what] ?? D;
    if (what === "pixel") return seen.patches[(row - 1) * patchDim + column];
    if (what === "token") return seen.tokens[(row - 1) * D + column];
    if (what === "z0") return seen.z0[row * D + column];
    const query = (head - 1) * T + row;
    if (what === "attention") return here.attention[query * T + column];
    if (what === "logit") return seen.lens[l][row * K + column];
    return here[what] ? here[what][row * width + column] : null;
  };
  let [count, worst, unlinked] = [0, 0, []];
  for (const [what, [first, rows, columns]] of Object.entries(places)) {
    for (let n = 0; n < 6; n++) {
      const address = {
        what, layer: 1 + random(depth), head: 1 + random(heads),
        row: first + random(rows - first), column: random(columns),
      };
      const found = handle.explain(address);
      const value = stored(address);
      if (value !== null) worst = Math.max(worst, Math.abs(value - found.total));
      for (const part of [...found.terms.flatMap(({ a, b }) => [a, b]), ...found.added,
        ...found.steps]) {
        if (!part.address) continue;
        const scale = part.label.includes(", over ") ? heads : 1;
        const next = handle.explain(part.address).total / scale;
        worst = Math.max(worst, Math.abs(next - part.value));
        count++;
      }
      if (!found.title || !Number.isFinite(found.total)) unlinked.push(what);
    }
  }
  return { count, worst, unlinked };
}"""


def assert_sums_hold(live: Live) -> None:
    """Every number is the sum that is shown for it, and so are the parts of it."""
    found = live.ask(SUMS, 7)
    assert found["count"] > 300 and found["unlinked"] == []
    assert found["worst"] < 1e-6


def test_every_number_is_the_sum_that_is_shown_for_it(live):
    live.show(example_images()[0][5])
    assert_sums_hold(live)
    live.change(positions=False, temperature=0.5, noResidual=["msa 1", "mlp 6"])
    assert_sums_hold(live)
    live.change()


def test_a_share_leads_down_to_a_byte_of_the_image(live):
    live.show(example_images()[0][9])
    live.free()
    live.update(layer=1, head=2, view={
        "equation1": "z0", "equation2": "attention", "equation3": "z",
    })  # fmt: skip
    field = live.root.locator(".ae-section", has_text="Equation 2").locator(".ae-field")
    field.focus()
    for _ in range(3):
        field.press("ArrowDown")
    field.press("Enter")
    panel = live.root.locator(".ae-sum")
    assert "How much patch 3 looks at the class token" in panel.text_content()
    path = ["score: ", "q 1: ", "number 1: ", "number 1: ", "token: ", "pixel 1: "]
    titles = [
        "Score of",
        "Query of patch 3",
        "LN before",
        "z_0 of",
        "Token of",
        "Patch",
    ]
    for label, title in zip(path, titles, strict=True):
        everything = panel.get_by_role("button", name="All ")
        if everything.count():
            everything.click()
        panel.get_by_role("button", name=label).first.click()
        assert panel.locator("h3").text_content().startswith(title)
    assert "0 to 255" in panel.text_content()
    panel.get_by_role("button", name="Back").click()
    assert panel.locator("h3").text_content().startswith("Token of")


def test_the_ten_steps_can_all_be_done(browser, tmp_path):
    model = from_pretrained("built-in", quiet=True)
    live = Live(browser, tmp_path, model, load_builtin()[1].class_names)
    root = live.root

    def field():
        return root.locator(".ae-section:not([hidden]) .ae-field").first

    def open_first(*names):
        for name in names:
            root.locator(".ae-sum").get_by_role("button", name=name).first.click()

    def grey_until_another_guess():
        first, number = live.guess(), 0
        while live.guess() == first and number < 49:
            live.patch(number).click()
            live.settle()
            number += 1

    deeds = [
        lambda: root.get_by_role("button", name="Trouser", exact=True).click(),
        lambda: (live.patch(17).click(), field().click()),
        lambda: field().click(position={"x": 50, "y": 100}),
        lambda: root.get_by_role("checkbox", name="Add the positions").uncheck(),
        lambda: (live.choose("2", "Attention head"), live.patch(30).click()),
        lambda: (field().click(position={"x": 90, "y": 90}), open_first("score: ")),
        lambda: root.get_by_role("checkbox", name="residual of attention").uncheck(),
        lambda: (
            field().click(position={"x": 90, "y": 90}),
            open_first("MLP: ", "number "),
        ),
        lambda: live.patch(24).click(),
        grey_until_another_guess,
    ]
    for number, deed in enumerate(deeds, 1):
        asks = root.locator(".ae-asks")
        assert f"{number} of 10." in root.locator(".ae-guide").text_content()
        assert asks.text_content().startswith("Try it: ")
        deed()
        live.settle()
        assert asks.text_content().startswith("Done: "), number
        on = "Next" if number < 10 else "Go on freely"
        root.get_by_role("button", name=on).click()
        live.settle()
        state = live.ask(
            "(handle) => { const { bytes, ...rest } = handle.state;"
            " return { ...rest, original: 0 }; }"
        )
        if number < 10:  # what a step has changed is put back for the next one
            assert state["changes"] == {
                "positions": True,
                "temperature": 1,
                "noResidual": [],
            }
            assert state["grey"] == [] and state["order"] == list(range(49))
            assert state["tool"] == ("grey" if number == 9 else "look")
            assert live.guess() == "Trouser"
    assert root.locator(".ae-guide").is_hidden()
    assert root.locator(".ae-section:not([hidden])").count() == 6
    assert live.page.complaints == []


def test_a_model_that_train_py_wrote_is_taken(browser, tmp_path):
    live = Live(
        browser,
        tmp_path,
        from_pretrained("built-in", quiet=True),
        load_builtin()[1].class_names,
    )
    for kind in ViT, ViTWithConvStem:
        model = random_model(replace(TINY, image_size=(16, 24)), kind)
        file = tmp_path / "model.safetensors"
        save_model(file, model, NAMES)
        live.drop(file)
        assert "3 blocks, width 12, 4 x 6 patches of 4 pixels, 5 classes" in (
            live.message()
        )
        assert live.guess() in NAMES
        assert live.root.get_by_role("gridcell").count() == 24
        bytes_seen = live.numbers("bytes").astype(np.uint8).reshape(3, 16, 24)
        expected = intermediates(model, torch.tensor(bytes_seen))
        np.testing.assert_allclose(
            live.numbers("logits"), expected["logits"], atol=1e-4
        )
        live.root.get_by_role("button", name="Sandal").click()
        live.settle()
    assert live.page.complaints == []


def test_changes_while_a_model_is_read_wait_for_it(browser, tmp_path):
    names = load_builtin()[1].class_names
    live = Live(browser, tmp_path, from_pretrained("built-in", quiet=True), names)
    content = base64.b64encode(to_bytes(random_model(TINY), NAMES)).decode()
    live.ask(
        "async (handle, text) => { const bytes = Uint8Array.from(atob(text),"
        " (c) => c.charCodeAt(0)); const taken = handle.takeFile("
        "new File([bytes], 'model.safetensors'));"
        " for (let i = 0; i < 20; i++) { handle.update({ grey: [i % 9] });"
        " await new Promise((done) => setTimeout(done, 2)); }"
        " await taken; await handle.settled(); return 0; }",
        content,
    )
    assert live.guess() in NAMES and live.root.get_by_role("gridcell").count() == 15
    assert len(live.numbers("logits")) == 5
    assert live.page.complaints == []


def test_files_dropped_at_once_are_taken_one_after_the_other(browser, tmp_path):
    names = load_builtin()[1].class_names
    live = Live(browser, tmp_path, from_pretrained("built-in", quiet=True), names)
    sizes = replace(TINY, image_size=32, patch_size=8, num_heads=1)
    last = random_model(sizes, ViTWithConvStem)
    Image.new("RGB", (40, 30), (200, 40, 90)).save(tmp_path / "photo.png")
    photo = (tmp_path / "photo.png").read_bytes()
    contents = [
        photo,
        to_bytes(random_model(TINY), NAMES),
        photo,
        to_bytes(last, NAMES),
    ]
    live.ask(
        "async (handle, texts) => { const files = texts.map((text, i) => new File("
        "[Uint8Array.from(atob(text), (c) => c.charCodeAt(0))],"
        " i % 2 ? `${i}.safetensors` : `${i}.png`));"
        " await Promise.all(files.map(handle.takeFile)); return 0; }",
        [base64.b64encode(content).decode() for content in contents],
    )
    assert live.message().startswith("3.safetensors: 3 blocks, width 12, 4 x 4 patches")
    assert live.root.get_by_role("gridcell").count() == 16
    shown = live.numbers("bytes").reshape(3, 32, 32)
    image = torch.tensor(shown, dtype=torch.uint8)
    assert_same(live, intermediates(last, image))
    assert live.page.complaints == []


def damaged_models() -> dict[str, tuple[bytes, str]]:
    """Files that are no model which the page can run, and what it says of them."""
    model = random_model(TINY)
    good = to_bytes(model, NAMES)
    length = struct.unpack("<Q", good[:8])[0]
    header = json.loads(good[8 : 8 + length])
    weights = dict(model.state_dict())

    def noted(config=None, names=NAMES, tensors=weights, **changes):
        config = config or (vars(TINY) | changes)
        about = {"config": config, "class_names": names}
        return save(tensors, {"vit": json.dumps(about)})

    def with_header(edit):
        changed = json.loads(json.dumps(header))
        edit(changed)
        text = json.dumps(changed).encode()
        return struct.pack("<Q", len(text)) + text + good[8 + length :]

    name = "encoder.blocks.1.msa_block.msa.qkv.weight"
    spoiled = weights | {"head.bias": torch.tensor([1.0, float("nan"), 0, 0, 0])}
    fewer = {k: v for k, v in weights.items() if k != name}
    return {
        "empty": (b"", "fewer than ten bytes"),
        "text": (b"this is no model, but a letter", "no safetensors file"),
        "cut off": (good[:-50], "cut off at"),
        "header cut off": (good[: length // 2], "cut off"),
        "no JSON": (good[:8] + b"x" * length + good[8 + length :], "no safetensors"),
        "no notes": (save(weights), "does not say what model"),
        "a list of names": (noted(names=[1, 2, 3, 4, 5]), "does not say"),
        "too few names": (noted(names=NAMES[:3]), "3 names for 5 classes"),
        "no depth": (noted(depth=0), "depth is 0"),
        "odd patches": (noted(patch_size=5), "do not fill"),
        "heads": (noted(num_heads=5), "5 heads do not share 12"),
        "channels": (noted(in_channels=4), "4 channels"),
        "zero std": (noted(std=(0.0,)), "divides by zero"),
        "huge": (noted(depth=900_000), "too large for a page"),
        "other sizes": (noted(embedding_dim=24), "not"),
        "a part is missing": (noted(tensors=fewer), f"{name} is missing"),
        "not finite": (noted(tensors=spoiled), "head.bias holds numbers that"),
        "whole numbers": (
            noted(tensors=weights | {"head.bias": torch.zeros(5, dtype=torch.int32)}),
            "holds I32",
        ),
        "offsets": (
            with_header(lambda h: h["head.bias"].update(data_offsets=[-8, 12])),
            "cut off at head.bias",
        ),
        "prototype": (
            with_header(lambda h: h["head.bias"].update(dtype="constructor")),
            "holds constructor",
        ),
    }


def test_damaged_and_foreign_files_get_one_line_and_change_nothing(live, tmp_path):
    live.show(example_images()[0][0])
    before = live.numbers("logits")
    for kind, (content, said) in damaged_models().items():
        file = tmp_path / "model.safetensors"
        file.write_bytes(content)
        live.drop(file)
        message = live.message()
        assert said in message, (kind, message)
        assert "choose the model.safetensors that train.py wrote" in message
        assert "\n" not in message and len(message) < 250
        assert (live.numbers("logits") == before).all()
        assert live.guess() == "T-shirt/top"


def test_photos_become_images_of_the_model(live, tmp_path):
    picture = np.full((90, 120, 3), 250, np.uint8)
    picture[20:70, 40:80] = (200, 30, 30)
    Image.fromarray(picture).save(tmp_path / "a <b>photo.png")
    live.drop(tmp_path / "a <b>photo.png")
    assert "light and dark were exchanged" in live.message()
    seen = live.numbers("bytes").reshape(28, 28)
    assert seen[0, 0] == 5 and abs(seen[14, 14] - (255 - 81)) <= 2
    live.root.get_by_role("button", name="Swap light and dark").click()
    live.settle()
    assert live.numbers("bytes").reshape(28, 28)[0, 0] == 250
    before = live.numbers("logits")
    (tmp_path / "letter.png").write_text("no picture")
    live.drop(tmp_path / "letter.png")
    assert live.message() == (
        "letter.png is no picture that this browser can read; choose a PNG or a JPEG."
    )
    assert (live.numbers("logits") == before).all()


def test_many_changes_at_once_end_with_the_last(live):
    """While a pass is under way more changes come, and the page is drawn."""
    images, _ = example_images()
    live.show(images[1])
    live.ask(
        "async (handle) => { for (let i = 1; i <= 30; i++) {"
        " handle.update({ grey: [i], token: i });"
        " if (i % 7 === 0) await new Promise((done) => setTimeout(done, 9)); }"
        " await handle.settled(); return 0; }"
    )
    changed = images[1].clone()
    row, column = divmod(30, 7)
    changed[:, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = 128
    expected = intermediates(live.model, changed)
    np.testing.assert_allclose(live.numbers("logits"), expected["logits"], atol=1e-4)
    assert live.page.complaints == []


def test_a_sum_belongs_to_the_pass_that_is_shown(live):
    """Also while the next pass, in which a residual is gone, is still under way."""
    live.show(example_images()[0][2])
    shown, said = live.ask(
        "(handle) => { const { D } = handle.sizes();"
        " handle.update({ changes: { positions: true, temperature: 1,"
        " noResidual: ['msa 1'] } });"
        " const address = { what: 'zPrime', layer: 1, row: 1, column: 1 };"
        " return [handle.seen().layers[0].zPrime[D + 1],"
        " handle.explain(address).total]; }"
    )
    assert shown == pytest.approx(said, abs=1e-9)
    live.change()


def test_one_can_draw_with_mouse_and_with_keys(live):
    live.free()
    live.root.get_by_role("button", name="Empty image").click()
    live.settle()
    assert not live.numbers("bytes").any()
    stage = live.root.locator(".ae-stage")
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    mouse = live.page.mouse
    mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
    mouse.down()
    mouse.move(box["x"] + box["width"] * 3 / 4, box["y"] + box["height"] / 2, steps=4)
    mouse.up()
    live.settle()
    drawn = live.numbers("bytes").reshape(28, 28)
    assert (drawn[14, 8:20] == 255).all() and not drawn[:10].any()
    live.root.get_by_role("button", name="Undo").click()
    live.settle()
    assert not live.numbers("bytes").any()
    live.root.get_by_role("gridcell").first.focus()
    for key in ("Home", "PageUp", "ArrowRight", "ArrowRight", " "):
        live.page.keyboard.press(key)
    live.settle()
    drawn = live.numbers("bytes").reshape(28, 28)
    assert drawn[0, 2] == 255 and drawn.sum() <= 5 * 255
    live.choose("look", "A click on the image")


def test_only_greying_ends_the_last_step(live):
    live.show(example_images()[0][9])
    live.update(mode="guided", step=8)
    live.root.get_by_role("button", name="Next").click()
    asks = live.root.locator(".ae-asks")
    live.root.locator("summary").click()
    live.root.get_by_role("button", name="Sneaker", exact=True).click()
    live.settle()
    assert live.guess() == "Sneaker" and asks.text_content().startswith("Try it: ")
    live.update(grey=[0])
    live.root.get_by_role("button", name="Swap light and dark").click()
    live.settle()
    assert live.guess() != "Sneaker" and asks.text_content().startswith("Try it: ")
    live.root.get_by_role("button", name="Undo").click()
    live.root.get_by_role("button", name="Back").click()
    live.root.get_by_role("button", name="Next").click()
    live.update(grey=list(range(49)))
    assert live.guess() != "Sneaker" and asks.text_content().startswith("Done: ")
    live.free()


def test_starting_again_brings_back_the_image_and_the_model(live):
    image = example_images()[0][9]
    live.show(image)
    live.free()
    again = live.root.get_by_role("button", name="Start again")
    said = live.root.locator(".ae-predictions")
    changes = [
        lambda: live.root.get_by_role("button", name="Empty image").click(),
        lambda: live.root.get_by_role("button", name="Swap light and dark").click(),
        lambda: live.update(grey=[3]),
        lambda: live.change(temperature=3),
    ]
    for change in changes:
        assert "Before" not in said.text_content()
        change()
        live.settle()
        assert "Before your changes: Ankle boot" in said.text_content()
        assert again.is_enabled()
        again.click()
        live.settle()
        assert (live.numbers("bytes") == image.flatten().numpy()).all()
        assert live.guess() == "Ankle boot"
    # Undo leads to the image before, and that is the one to start from again.
    live.show(example_images()[0][1])
    live.root.get_by_role("button", name="Undo").click()
    live.update(grey=[0])
    again.click()
    live.settle()
    assert (live.numbers("bytes") == image.flatten().numpy()).all()
    live.choose("look", "A click on the image")


def test_the_first_row_of_tokens_opens_the_number_that_it_shows(live):
    live.show(example_images()[0][9])
    live.free()
    live.choose("tokens, before positions", "Shown")
    section = live.root.locator(".ae-section", has_text="Equation 1")
    section.locator(".ae-field").click(position={"x": 3, "y": 2})
    shown = section.locator(".ae-readout").text_content().split(": ")[1]
    assert live.root.locator(".ae-total").text_content() == f"= {shown}"
    assert "Class token, number 1" in live.root.locator(".ae-sum").text_content()
    live.choose("z₀, their sum", "Shown")


def test_an_open_sum_follows_the_layer_and_the_head(live):
    live.show(example_images()[0][9])
    live.free()
    live.update(layer=6, head=3)
    section = live.root.locator(".ae-section", has_text="Equation 2")
    section.locator(".ae-field").click(position={"x": 100, "y": 3})
    panel = live.root.locator(".ae-sum")
    assert "layer 6, head 3" in panel.text_content()
    for head, said in (1, "layer 2, head 1"), (0, "layer 2, mean of the heads"):
        live.update(layer=2, head=head)
        assert said in panel.text_content()
    live.update(head=4)
    panel.get_by_role("button", name="score: ").click()
    live.update(layer=5)  # what was opened from a sum stays with it
    assert "layer 2, head 4" in panel.text_content()
    panel.get_by_role("button", name="Close").click()
    assert panel.get_by_text("Choose any number").is_visible()


def test_the_keyboard_keeps_its_place_in_the_sums(live):
    live.free()
    live.update(layer=1, head=1)
    section = live.root.locator(".ae-section", has_text="Equation 2")
    section.locator(".ae-field").press("Enter")
    panel = live.root.locator(".ae-sum")
    for name in ("score: ", "q 1: "):
        everything = panel.get_by_role("button", name="All ")
        if everything.count():
            everything.press("Enter")
        panel.get_by_role("button", name=name).first.press("Enter")
        focused = live.page.evaluate("document.activeElement.textContent")
        assert focused == panel.locator("h3").text_content()
    panel.get_by_role("button", name="Back").press("Enter")
    focused = live.page.evaluate("document.activeElement.textContent")
    assert focused == panel.locator("h3").text_content()
    undo = live.root.get_by_role("button", name="Undo")
    live.update(grey=[1])
    undo.press("Enter")
    live.settle()
    assert live.page.evaluate("document.activeElement.textContent") == "Undo"


def test_a_slider_moved_in_many_steps_is_one_change(live):
    live.show(example_images()[0][9])
    live.free()
    live.update(grey=[2])
    slider = live.root.get_by_role("slider")
    slider.focus()
    for _ in range(4):
        slider.press("ArrowRight")
    slider.blur()
    live.settle()
    temperature = live.ask("(handle) => handle.state.changes.temperature")
    assert temperature == pytest.approx(10 ** (4 / 20))
    live.root.get_by_role("button", name="Undo").click()
    live.settle()
    assert live.ask("(handle) => handle.state.changes.temperature") == 1
    assert live.ask("(handle) => handle.state.grey") == [2]


def test_a_finger_draws_and_points(browser, tmp_path):
    model = from_pretrained("built-in", quiet=True)
    size = {"width": 390, "height": 844}
    live = Live(browser, tmp_path, model, NAMES * 2, viewport=size, has_touch=True)
    live.free()
    live.root.get_by_role("button", name="Empty image").click()
    live.settle()
    grid = live.root.get_by_role("grid")
    grid.scroll_into_view_if_needed()
    box = grid.bounding_box()
    touch = live.page.context.new_cdp_session(live.page)
    for n, kind in enumerate(["touchStart", *["touchMove"] * 5, "touchEnd"]):
        at = {"x": box["x"] + 100, "y": box["y"] + 60 + 30 * n}
        points = [] if kind == "touchEnd" else [at]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    live.settle()
    drawn = live.numbers("bytes").reshape(28, 28)
    rows = (drawn > 0).any(axis=1).sum()
    assert rows >= 28 * 140 / box["height"]
    table = live.root.locator(".ae-section", has_text="Equation 2").locator(".ae-table")
    table.locator(".ae-field").scroll_into_view_if_needed()
    readout = table.locator(".ae-readout")
    shown = readout.text_content()
    for _ in range(5):  # a tap counts once the page has come to rest
        live.page.wait_for_timeout(400)
        table.locator(".ae-field").tap(position={"x": 50, "y": 50})
        live.page.wait_for_timeout(400)  # the click comes after the touch
        if readout.text_content() != shown:
            break
    assert readout.text_content() != shown
    panel = live.root.locator(".ae-sum")
    assert panel.get_by_text("Choose any number").is_visible()
    before = table.locator(".ae-readout").text_content()
    table.get_by_role("button", name="right").tap()
    assert table.locator(".ae-readout").text_content() != before
    table.get_by_role("button", name="Open this number").tap()
    assert "looks at" in panel.locator("h3").text_content()
    sheet = panel.bounding_box()  # at the lower edge of the screen, the table in sight
    assert sheet["y"] + sheet["height"] <= 845 and sheet["height"] < 500
    live.root.locator(".ae-left").scroll_into_view_if_needed()
    assert live.root.locator(".ae-now").bounding_box()["y"] >= 0
    assert live.page.complaints == []


def test_the_lens_reads_any_token(live):
    live.show(example_images()[0][7])
    live.free()
    live.patch(10).click()
    section = live.root.locator(".ae-section", has_text="would say after each layer")
    assert "Read at patch 11" in section.text_content()
    rows = section.locator("li")
    assert rows.count() == 7
    expected = intermediates(live.model, example_images()[0][7])
    names = load_builtin()[1].class_names
    for layer in range(1, 7):
        logits = expected[f"lens[{layer}]"].reshape(50, 10)[11]
        assert names[logits.argmax()] in rows.nth(layer).text_content()
    live.update(token=0)
    assert "class token" in section.text_content()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1300, 390])
def test_nothing_is_cut_off_and_no_rule_of_access_is_broken(
    scheme, width, browser, tmp_path
):
    from axe_playwright_python.sync_playwright import Axe

    model = from_pretrained("built-in", quiet=True)
    live = Live(
        browser,
        tmp_path,
        model,
        load_builtin()[1].class_names,
        viewport={"width": width, "height": 900},
        color_scheme=scheme,
        reduced_motion="reduce",
        bypass_csp=True,  # for axe, which is put in as a script
    )
    for way in ("guided", "free"):
        if way == "free":
            live.free()
            live.ask("(handle) => { handle.update({ token: 5 }); return 0; }")
            live.root.locator(".ae-field").nth(1).click()
        wide = live.page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width
        found = Axe().run(live.page, options={"runOnly": ["wcag2a", "wcag2aa"]})
        problems = [
            (v["id"], v["nodes"][0]["html"][:200]) for v in found.response["violations"]
        ]
        assert problems == []


def test_explain_py_writes_the_model_and_a_photo_into_one_file(
    browser, folder, monkeypatch, capsys
):
    monkeypatch.chdir(folder)
    pixels = example_images()[0][4, 0].numpy()
    Image.fromarray(pixels).save(folder / "my coat.png")
    assert explain.main(["--live", "my coat.png"]) == 0
    said = capsys.readouterr().out
    assert "live.html" in said and "Coat" in said
    assert (folder / "live.html").stat().st_size < 3_000_000
    page = open_file(browser, folder / "live.html")
    best = page.locator(".ae-predictions li").first
    best.wait_for()
    assert best.locator(".ae-name").text_content() == "Coat"
    percent = float(best.locator(".ae-number").text_content().split("\xa0")[0])
    assert f"{percent:.1f}" in said.replace(f"{percent:.2f}", f"{percent:.1f}")
    assert "my coat.png" in page.locator(".ae-left").text_content()
    assert page.title() == "One image, four equations: my coat.png"
    assert page.complaints == []


def test_explain_py_refuses_models_that_no_page_can_run(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    Image.new("RGB", (64, 64)).save(folder / "photo.png")
    models = {
        "up to 5,000,000,000 multiplications": ViT(
            replace(TINY, image_size=64, embedding_dim=768, mlp_size=4096, depth=9)
        ),
        "this is a HybridViT": HybridViT(
            replace(TINY, image_size=64, patch_size=16, gelu="erf"), (1, 1, 1)
        ),
    }
    for said, model in models.items():
        save_model(folder / "model.safetensors", model, NAMES)
        command = ["--live", "photo.png", "--weights", "model.safetensors"]
        assert explain.main(command) == 2
        error = capsys.readouterr().err.strip()
        assert said in error and "leave out --live" in error
        assert not (folder / "live.html").exists()


def test_a_screen_reader_hears_what_has_changed(live):
    live.show(example_images()[0][9])
    live.page.wait_for_timeout(700)
    said = live.root.locator(".ae-hidden[aria-live]").text_content()
    assert said.startswith("The guess: Ankle boot, ")
    assert said.count("row ") == 3
    cell = live.patch(0)
    assert cell.get_attribute("aria-label").startswith("row 1, column 1, ")
    live.update(token=12)
    live.page.wait_for_timeout(700)
    said = live.root.locator(".ae-hidden[aria-live]").text_content()
    assert "Patch 12 looks most at row " in said
    live.update(lensOnImage=True)
    live.page.wait_for_timeout(700)
    said = live.root.locator(".ae-hidden[aria-live]").text_content()
    assert "The patches that give \u201cAnkle boot\u201d most: row " in said
    live.update(lensOnImage=False, token=0)


def test_scripts_of_the_live_page_set_text_and_run_nothing():
    script = bundle("live/live.js") + bundle("live/worker.js")
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write"):
        assert way not in script
    for call in ("eval(", "Function(", "fetch(", "import(", "XMLHttpRequest", "</"):
        assert call not in script


def test_the_forward_pass_is_short():
    lines = [line for line in read_part("live/vit.js").splitlines() if line.strip()]
    assert len(lines) <= 250


def test_the_page_of_the_built_in_model_is_small():
    model = from_pretrained("built-in", quiet=True)
    text = live_page(model, load_builtin()[1].class_names)
    assert len(text.encode()) < 3_000_000


def test_weights_that_half_precision_cannot_hold_are_kept(tmp_path):
    model = random_model(TINY)
    save_model(tmp_path / "model.safetensors", model, NAMES)
    assert len(to_bytes(model, NAMES)) == pytest.approx(
        (tmp_path / "model.safetensors").stat().st_size, abs=100
    )
    halved = model.half().float()
    assert len(to_bytes(halved, NAMES)) < 0.7 * len(to_bytes(random_model(TINY), NAMES))
