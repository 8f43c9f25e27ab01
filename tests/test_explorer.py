"""The explorer's numbers, and its page read back without a browser."""

import base64
import builtins
import hashlib
import html.parser
import importlib
import io
import json
import sys

import matplotlib
import numpy as np
import pytest
import torch
import traitlets
from PIL import Image

from going_modular.attention_maps import attention_rollout, capture
from going_modular.config import ViTConfig
from going_modular.data_setup import load_builtin, normalise
from going_modular.errors import InputError
from going_modular.explorer import data, page, widget
from going_modular.explorer.bundle import bundle
from going_modular.explorer.data import explore_image
from going_modular.explorer.encoding import quantise, restore, rounding_errors
from going_modular.pretrained import from_pretrained
from going_modular.teaching.toy import toy_config
from going_modular.variants.registers import ViTWithRegisters
from going_modular.vit import ViT

HOSTILE = (
    "</script><img src=x onerror=alert(1)>",
    "\"'&lt;`${1}`",
    "two\u2028lines\u2029and\nmore",
    "<!--<script>",
    "\udcff\0",
    "名前",
)
SIZES = {  # model changes, and what they make: rows, columns, nh, L
    "toy": (dict(), (5, 5, 4, 7)),
    "not square": (dict(image_size=(24, 56)), (3, 7, 4, 7)),
    "one patch, grey": (dict(image_size=8, in_channels=1), (1, 1, 4, 7)),
}


def make_model(seed: int = 0, **changes) -> ViT:
    """A toy model whose attention is far from even and whose scores differ."""
    torch.manual_seed(seed)
    model = ViT(toy_config(**changes)).eval()
    for name, weight in model.named_parameters():
        if "qkv" in name or "head" in name or "position" in name:
            torch.nn.init.normal_(weight, std=0.4)
    return model


def make_image(config: ViTConfig, seed: int = 0) -> torch.Tensor:
    size = (config.in_channels, *config.image_shape)
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, size, generator=generator, dtype=torch.uint8)


def class_names(config: ViTConfig) -> list[str]:
    return [f"class {i}" for i in range(config.num_classes)]


def explored(model: ViT | None = None, **options) -> data.Exploration:
    model = model or make_model()
    names = options.pop("class_names", class_names(model.config))
    return explore_image(model, make_image(model.config), names, **options)


class Parts(html.parser.HTMLParser):
    """Every element of a page with its attributes and the text right in it."""

    def __init__(self, text: str):
        super().__init__()
        self.elements, self.open = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append([tag, dict(attributes), ""])
        if tag not in ("meta", "link", "img"):
            self.open.append(self.elements[-1])

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, text):
        if self.open:
            self.open[-1][2] += text

    def all(self, tag: str) -> list:
        return [element for element in self.elements if element[0] == tag]

    def text(self, name: str) -> str:
        """Of the element with this id."""
        (found,) = (e for e in self.elements if e[1].get("id") == name)
        return found[2]


# ---- The numbers


@pytest.mark.parametrize("size", SIZES)
def test_restored_weights_are_the_models_within_half_a_step(size):
    changes, (rows, columns, nh, L) = SIZES[size]
    model = make_model(**changes)
    found = explored(model)
    T = rows * columns + 1
    x = normalise(make_image(model.config))[None]
    seen = capture(model, x, kinds=("attention", "values"))
    attention = seen.attention[:, 0]
    for steps, scales, weights in (
        (found.attention, found.attention_scales, attention),
        (found.rollout, found.rollout_scales, attention_rollout(attention)),
    ):
        assert steps.dtype == np.uint8 and scales.dtype == np.float32
        assert steps.shape == weights.shape and scales.shape == weights.shape[:-1]
        assert steps.shape[-2:] == (T, T)
        error = np.abs(restore(steps, scales) - weights.double().numpy())
        bound = weights.amax(-1, keepdim=True).double().numpy() / 510
        assert (error <= bound * (1 + 1e-6)).all()
        assert error.max() > 0
    lengths = seen.values[:, 0].norm(dim=-1)
    assert found.value_lengths.shape == (L, nh, T)
    np.testing.assert_allclose(found.value_lengths, lengths, rtol=1e-6)


def test_stated_errors_are_those_of_all_stored_weights():
    model = make_model()
    attention = capture(model, normalise(make_image(model.config))[None]).attention
    attention = attention[:, 0]
    found = explored(model, layers=[2, 5])
    rollout = attention_rollout(attention)
    errors = np.concatenate(
        [
            np.abs(restore(steps, scales) - weights[[1, 4]].double().numpy()).ravel()
            for steps, scales, weights in (
                (found.attention, found.attention_scales, attention),
                (found.rollout, found.rollout_scales, rollout),
            )
        ]
    )
    assert found.description["error"]["greatest"] == errors.max()
    assert found.description["error"]["mean"] == pytest.approx(errors.mean(), rel=1e-9)


def test_quantising_takes_zeros_and_single_ones():
    weights = np.float32([[[0, 0, 0], [0, 1, 0], [0.25, 0.5, 0.25]]])
    steps, scales = quantise(weights)
    assert steps[0, :2].tolist() == [[0, 0, 0], [0, 255, 0]]
    errors = rounding_errors((steps, scales, weights))
    assert errors["greatest"] == pytest.approx(0.5 / 510, rel=1e-4)
    assert errors["mean"] == pytest.approx(2 / 9 * 0.5 / 510, rel=1e-4)


def test_chosen_layers_are_kept_in_order_with_the_rollout_of_all():
    model = make_model()
    whole, some = explored(model), explored(model, layers=(6, 3, 3))
    assert some.description["layers"] == [3, 6]
    assert whole.description["layers"] == [1, 2, 3, 4, 5, 6, 7]
    for name, array in some.arrays().items():
        kept = getattr(whole, name)[[2, 5]]
        assert array == kept.tobytes()


def test_description_tells_sizes_picture_and_start():
    model = make_model(image_size=(24, 56))
    found = explored(model, title="A photo", start_layer=2, start_head=3, top=2)
    about = found.description
    assert (about["rows"], about["columns"], about["patch_size"]) == (3, 7, 8)
    assert (about["depth"], about["heads"], about["title"]) == (7, 4, "A photo")
    start = dict(layer=2, head=3, view="looks-at", row=-1, column=-1)
    assert about["start"] == start
    assert explored(model).description["start"] == {**start, "layer": 7, "head": 0}
    kind, _, content = about["image"].partition(",")
    assert kind == "data:image/png;base64"
    picture = Image.open(io.BytesIO(base64.b64decode(content)))
    shown = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
    assert torch.equal(shown, make_image(model.config))
    colours = np.frombuffer(bytes.fromhex(about["colours"]), np.uint8).reshape(256, 3)
    viridis = matplotlib.colormaps["viridis"](np.linspace(0, 1, 256), bytes=True)
    assert (colours == viridis[:, :3]).all()


def test_predictions_are_those_of_the_model_likeliest_first():
    model = make_model()
    names = [f"name {i}" for i in range(10)]
    found = explored(model, class_names=names, top=4).description["predictions"]
    with torch.no_grad():
        logits = model(normalise(make_image(model.config))[None])[0]
    right = logits.softmax(0).sort(descending=True)
    assert [p["name"] for p in found] == [f"name {i}" for i in right.indices[:4]]
    for guess, probability in zip(found, right.values, strict=False):
        assert guess["probability"] == pytest.approx(probability.item(), rel=1e-5)


def test_gray_images_and_mean_and_deviation_of_the_model_are_respected():
    model = from_pretrained("built-in", quiet=True).eval()
    _, test = load_builtin()
    found = explore_image(model, test.images[0], test.class_names)
    config = model.config
    with torch.no_grad():
        logits = model(normalise(test.images[:1], config.mean, config.std))
    best = found.description["predictions"][0]
    assert best["name"] == test.class_names[logits.argmax()]
    assert best["probability"] == pytest.approx(logits.softmax(1).max().item())


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (dict(layers=[0]), "no layer 0: this model has layers 1 to 7"),
        (dict(layers=[1, 8]), "no layer 8: this model has layers 1 to 7"),
        (dict(layers=[]), "no layer to show: choose some of 1 to 7"),
        (dict(start_layer=9), "no layer 9: this model has layers 1 to 7"),
        (dict(start_layer=0), "no layer 0: this model has layers 1 to 7"),
        (dict(layers=[2, 4], start_layer=3), "not among those shown: 2, 4"),
        (dict(start_head=0), "no head 0: this model has heads 1 to 4"),
        (dict(start_head=5), "no head 5: this model has heads 1 to 4"),
        (dict(class_names=["a"]), "1 class names for 10 classes"),
    ],
)
def test_bad_choices_are_named_with_what_is_there(options, complaint):
    with pytest.raises(InputError, match=complaint) as error:
        explored(**options)
    assert "\n" not in str(error.value)


def test_unfit_images_are_refused():
    model = make_model()
    names, image = class_names(model.config), make_image(model.config)
    for bad in (image[:1], image.float(), image[:, :-1], image[None]):
        with pytest.raises(InputError, match="but the model reads"):
            explore_image(model, bad, names)
    model = make_model(in_channels=4)
    with pytest.raises(InputError, match="4 channels cannot be shown"):
        explored(model)


def test_weights_that_give_no_numbers_are_refused():
    model = make_model()
    torch.nn.init.constant_(model.head.bias, torch.nan)
    with pytest.raises(InputError, match="no finite scores"):
        explored(model)


def test_what_is_too_large_is_refused_with_the_number_that_fits(monkeypatch):
    model = make_model()
    found = explored(model)
    size = sum(map(len, found.arrays().values()))
    monkeypatch.setattr(data, "MOST_BYTES", size)
    explored(model)
    monkeypatch.setattr(data, "MOST_BYTES", size - 1)
    with pytest.raises(InputError, match="choose fewer layers, at most 6"):
        explored(model)
    explored(model, layers=range(1, 7))
    monkeypatch.setattr(data, "MOST_BYTES", 100)
    with pytest.raises(InputError, match="a smaller image: one is too much"):
        explored(model)


# ---- The page


def test_page_holds_the_same_bytes_and_description():
    found = explored()
    parts = Parts(page.page(found))
    assert json.loads(parts.text("description")) == found.description
    arrays = found.arrays()
    assert json.loads(parts.text("names")) == list(arrays)
    for name, content in arrays.items():
        assert base64.b64decode(parts.text(name), validate=True) == content
        array = getattr(found, name)
        kind = np.dtype(array.dtype).newbyteorder("<")
        assert (np.frombuffer(content, kind).reshape(array.shape) == array).all()


def test_policy_names_exactly_what_is_inlined_and_nothing_else():
    text = page.page(explored(title="</title>"))
    parts = Parts(text)
    (policy,) = (
        attributes["content"]
        for _, attributes, _ in parts.all("meta")
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    running = [e for e in parts.all("script") if e[1].get("type") == "module"]
    for (_, _, content), rule in (
        (running[0], "script-src"),
        (parts.all("style")[0], "style-src"),
    ):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    assert len(running) == len(parts.all("style")) == 1
    kinds = {attributes["type"] for _, attributes, _ in parts.all("script")}
    assert kinds == {"module", "application/json", "text/plain"}, "no other script runs"
    assert rules["default-src"] == "'none'" and rules["img-src"] == "data:"
    assert set(rules) == {
        *("default-src", "base-uri", "form-action"),
        *("img-src", "script-src", "style-src"),
    }
    addresses = [a for e in parts.elements for a in e[1] if a in ("src", "href")]
    assert addresses == ["href"], "only the empty icon"
    assert "http:" not in text and "https:" not in text


def test_names_of_files_cannot_become_markup():
    model = make_model(num_classes=len(HOSTILE))
    plain = Parts(page.page(explored(model, class_names=list("abcdef"), top=6)))
    for title in HOSTILE:
        found = explored(model, class_names=HOSTILE, title=title, top=6)
        text = page.page(found)
        text.encode()  # can be written
        parts = Parts(text)
        assert [e[0] for e in parts.elements] == [e[0] for e in plain.elements]
        shown = {
            p["name"] for p in json.loads(parts.text("description"))["predictions"]
        }
        assert shown == {name.replace("\udcff", "?") for name in HOSTILE}
        written = title.replace("\udcff", "?")
        assert parts.all("title")[0][2] == f"{written}: attention"
        assert parts.text("description").isascii()
        assert "<" not in parts.text("description")


def test_scripts_set_text_and_never_markup():
    script = bundle("explorer.js")
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write"):
        assert way not in script
    for call in ("eval(", "Function(", "fetch(", "import(", "XMLHttpRequest", "</"):
        assert call not in script


def test_written_page_is_whole_and_the_same_each_time(tmp_path):
    found = explored(title="名前")
    page.write_page(tmp_path / "a.html", found)
    assert [p.name for p in tmp_path.iterdir()] == ["a.html"]
    assert (tmp_path / "a.html").read_bytes() == page.page(found).encode()
    assert page.page(explored(title="名前")) == page.page(found)


def test_page_of_vit_b_16_is_less_than_10_megabytes():
    torch.manual_seed(0)
    model = ViT(ViTConfig.from_variant("B/16")).eval()
    found = explored(model)
    assert found.attention.shape == (12, 12, 197, 197)
    size = len(page.page(found).encode())
    assert 8_000_000 < size < 10_000_000


# ---- The widget, as Python sees it


def test_widget_starts_with_the_exploration_and_takes_what_is_there():
    found = explored(title="A photo", start_layer=2, layers=[2, 4])
    shown = widget.AttentionExplorer(found)
    assert {name: getattr(shown, name) for name in found.arrays()} == found.arrays()
    assert shown.description == found.description
    assert (shown.layer, shown.head, shown.view) == (2, 0, "looks-at")
    assert (shown.row, shown.column) == (-1, -1)
    shown.layer, shown.head, shown.row, shown.column = 4, 4, 4, 0
    shown.view = "rollout"
    for name, bad, complaint in (
        ("layer", 3, "no layer 3 here: choose from 2, 4"),
        ("head", 5, "no head 5: this model has heads 1 to 4"),
        ("head", -1, "no head -1: this model has heads 1 to 4"),
        ("row", 5, "no row 5: choose 0 to 4, or -1"),
        ("column", -2, "no column -2: choose 0 to 4, or -1"),
        ("view", "up", "looks-at"),
    ):
        with pytest.raises(traitlets.TraitError, match=complaint):
            setattr(shown, name, bad)
    assert (shown.layer, shown.head, shown.row, shown.view) == (4, 4, 4, "rollout")


def test_explore_is_the_short_way_to_a_widget():
    model = make_model()
    names, image = class_names(model.config), make_image(model.config)
    shown = widget.explore(model, image, names, layers=[3], start_head=2)
    assert (shown.layer, shown.head) == (3, 2)


def test_script_knows_the_same_views_and_arrays_as_python():
    script = bundle("explorer.js")
    for view in widget.VIEWS:
        assert f'"{view}": {{' in script or f"\n  {view}: {{" in script
    for name in explored().arrays():
        assert f'"{name}"' in script and f"arrays.{name}" in script


def test_missing_anywidget_is_said_in_one_line(monkeypatch):
    found = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "anywidget":
            raise ModuleNotFoundError("No module named 'anywidget'")
        return found(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "going_modular.explorer.widget")
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError) as error:
        importlib.import_module("going_modular.explorer.widget")
    (line,) = str(error.value).splitlines()
    assert 'pip install "going-modular[notebooks]"' in line
    assert error.value.__suppress_context__


def test_registers_are_left_out_of_what_is_shown():
    """They stand nowhere in the image; what tokens give to them is not shown."""
    torch.manual_seed(0)
    model = ViTWithRegisters(toy_config(), num_registers=3).eval()
    for name, weight in model.named_parameters():
        if "qkv" in name or "registers" in name:
            torch.nn.init.normal_(weight, std=0.4)
    image = make_image(model.config)
    shown = explore_image(model, image, tuple("abcdefghij"), layers=[2])
    x = normalise(image[None])
    whole = capture(model, x, layers=[2]).attention[0, 0]  # (nh, T + 3, T + 3)
    places = [0, *range(4, 4 + 25)]
    expected = whole[:, places][..., places].numpy()
    found = restore(shown.attention[0], shown.attention_scales[0])
    assert found.shape == expected.shape == (4, 26, 26)
    assert np.abs(found - expected).max() < 0.01
    assert (expected.sum(-1) < 0.99).any(), "registers got nothing"
