"""Weights by name: fetched, verified and cached, or one line that says what to do."""

import hashlib
import http.client
import http.server
import io
import json
import socket
import sys
import threading
import urllib.request
from dataclasses import replace
from types import SimpleNamespace

import huggingface_hub
import numpy as np
import pytest
import timm
import torch
import torchvision
from bomb import Bomb
from peers import (
    WIDE,
    images_for,
    official_arrays,
    official_forward,
    save_pretrained,
    timm_vit,
    torchvision_vit,
    transformers_vit,
)
from safetensors.torch import save_file

from going_modular.errors import InputError
from going_modular.pretrained import from_pretrained
from going_modular.weights import sources as weight_sources
from going_modular.weights.reading import read_pretrained
from going_modular.weights.sources import read_source

NAME = "augreg/Ti_16-i21k.npz"


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """An empty cache, and no way out but to this machine."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    connect = socket.socket.connect

    def connect_here(self, address):
        if not (isinstance(address, tuple) and address[0] == "127.0.0.1"):
            raise OSError("Network is unreachable")
        return connect(self, address)

    def unreachable(*args, **kwargs):
        raise OSError("Network is unreachable")

    monkeypatch.setattr(socket.socket, "connect", connect_here)
    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    monkeypatch.setattr(timm, "create_model", unreachable)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    return tmp_path / "hub/checkpoints"


def refused(source, *words) -> str:
    with pytest.raises(InputError) as caught:
        read_source(source)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message
    return message


# Without a network


@pytest.mark.parametrize(
    ("name", "tried", "address"),
    [
        ("vit_b_16", "torchvision:vit_b_16", "download.pytorch.org/models/vit_b_16-"),
        (
            "torchvision:vit_l_16.IMAGENET1K_SWAG_E2E_V1",
            "torchvision:vit_l_16.IMAGENET1K_SWAG_E2E_V1",
            "download.pytorch.org/models/vit_l_16_swag-",
        ),
        (
            "deit_tiny_patch16_224.fb_in1k",
            "timm:deit_tiny_patch16_224.fb_in1k",
            "huggingface.co/timm/deit_tiny_patch16_224.fb_in1k",
        ),
        (
            "vit_small_patch14_dinov2.lvd142m",
            "timm:vit_small_patch14_dinov2.lvd142m",
            "huggingface.co/timm/vit_small_patch14_dinov2.lvd142m",
        ),
        (
            "transformers:google/vit-base-patch16-224",
            "transformers:google/vit-base-patch16-224",
            "huggingface.co/google/vit-base-patch16-224",
        ),
        (
            f"official:{NAME}",
            f"official:{NAME}",
            f"https://storage.googleapis.com/vit_models/{NAME}",
        ),
    ],
)
def test_without_a_network_one_line_says_what_was_tried_and_what_to_do(
    name, tried, address
):
    message = refused(name, tried, address, "nreachable")
    assert '"built-in" works without a network' in message


def test_message_names_the_place_for_a_file_fetched_by_hand(cache):
    refused(f"official:{NAME}", f"put it at {cache / 'augreg_Ti_16-i21k.npz'}")
    file = torchvision.models.ViT_B_16_Weights.DEFAULT.url.rpartition("/")[2]
    refused("vit_b_16", f"put it at {cache / file}")
    for name in ("timm:vit_x", "transformers:a/b"):
        refused(name, "config.json and model.safetensors", "folder and give its path")


def test_file_put_there_by_hand_is_read(cache):
    cache.mkdir(parents=True)
    np.savez(cache / "augreg_Ti_16-i21k.npz", **official_arrays(WIDE))
    found = read_pretrained(f"official:{NAME}")
    assert found.config == replace(WIDE, gelu="tanh")


@pytest.mark.parametrize("name", ["resnet50", "none.npz", "vit_none.pth", "else:vit"])
def test_unknown_name_is_told_with_those_that_are_known(name):
    refused(name, f"no weights {name!r}", "'built-in'", "vit_b_16", "official:NAME")


@pytest.mark.parametrize("name", ["torchvision:vit_x_99", "torchvision:vit_b_16.V9"])
def test_unknown_name_of_torchvision_is_told(name):
    refused(name, name, "check the name", "give the path of a file", "built-in")


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("vit_base_patch16_224", "timm"),
        ("transformers:google/vit-base-patch16-224", "huggingface_hub"),
    ],
)
def test_missing_package_is_named(name, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    refused(name, f"needs the package {package}: run pip install {package}", "built-in")


# Through the libraries


def put_by_hand(cache, monkeypatch, state) -> None:
    """Put a file where torchvision's is looked for, under a name with its hash."""
    cache.mkdir(parents=True)
    torch.save(state, cache / "file")
    digest = hashlib.sha256((cache / "file").read_bytes()).hexdigest()
    name = f"vit_b_16_swag-{digest[:8]}.pth"
    (cache / "file").rename(cache / name)
    weights = torchvision.models.ViT_B_16_Weights.IMAGENET1K_SWAG_E2E_V1
    about = SimpleNamespace(
        url=f"https://download.pytorch.org/models/{name}",
        transforms=weights.transforms,
        meta=weights.meta,
    )
    monkeypatch.setattr(weight_sources, "find_torchvision", lambda name: about)


def test_torchvisions_weights_bring_their_pixels_and_class_names(cache, monkeypatch):
    peer = torchvision_vit(replace(WIDE, num_classes=1000))
    put_by_hand(cache, monkeypatch, peer.state_dict())
    found = read_pretrained("vit_b_16.IMAGENET1K_SWAG_E2E_V1", 4)
    assert found.config.mean == (0.485, 0.456, 0.406)
    assert found.config.std == (0.229, 0.224, 0.225)
    assert found.class_names[0] == "tench"
    assert len(found.class_names) == 1000


def test_a_file_of_torchvisions_with_another_hash_is_refused(cache, monkeypatch):
    put_by_hand(cache, monkeypatch, torchvision_vit(WIDE).state_dict())
    (file,) = cache.iterdir()
    file.write_bytes(file.read_bytes() + b"!")
    refused("vit_b_16", str(file), "SHA-256", "remove it")
    assert file.exists()


def test_code_in_a_file_of_torchvisions_is_refused_and_never_runs(
    cache, monkeypatch, tmp_path
):
    """Its own loader would run it."""
    put_by_hand(cache, monkeypatch, {"class_token": Bomb(tmp_path / "ran")})
    refused("vit_b_16", "could run code")
    assert not (tmp_path / "ran").exists()


def serve_timm(monkeypatch, tmp_path, peer, pretrained_cfg) -> None:
    folder = tmp_path / "repository"
    folder.mkdir()
    save_file(peer.state_dict(), folder / "model.safetensors")
    config = {"architecture": "vit_toy", "pretrained_cfg": pretrained_cfg}
    (folder / "config.json").write_text(json.dumps(config))
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained: peer)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *a, **k: folder)


def test_timms_weights_bring_their_numerics(monkeypatch, tmp_path):
    peer = timm_vit(WIDE)
    for block in peer.blocks:
        block.norm1.eps = block.norm2.eps = 1e-4
    peer.norm.eps = 1e-4
    pixels = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}
    serve_timm(monkeypatch, tmp_path, peer, pixels)
    model = from_pretrained("vit_toy_patch8_40", quiet=True).eval()
    assert model.config == replace(WIDE, layer_norm_eps=1e-4, **pixels)
    images = images_for(WIDE)
    torch.testing.assert_close(model(images), peer(images), atol=1e-5, rtol=0)


def test_timms_average_of_all_patches_is_refused(monkeypatch, tmp_path):
    peer = timm_vit(WIDE, global_pool="avg", fc_norm=False)
    serve_timm(monkeypatch, tmp_path, peer, {"mean": (0.5,), "std": (0.5,)})
    refused("vit_toy_patch8_40", "a head on all patches")


def test_transformers_weights_are_read_from_the_hubs_folder(monkeypatch, tmp_path):
    peer = transformers_vit(WIDE, layer_norm_eps=1e-4)
    folder = save_pretrained(peer, tmp_path / "saved")
    asked = []

    def download(name, allow_patterns):
        asked.append(name)
        return folder

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    found = read_pretrained("transformers:toys/vit")
    assert asked == ["toys/vit"]
    assert found.config == replace(WIDE, layer_norm_eps=1e-4)
    assert found.class_names[3] == "class 3"


# The official files


def npz() -> bytes:
    file = io.BytesIO()
    np.savez(file, **official_arrays(WIDE))
    return file.getvalue()


@pytest.fixture
def server(monkeypatch):
    """A server on this machine; `answer` says with what, `asked` what for."""

    class Handler(http.server.BaseHTTPRequestHandler):
        answer = dict(status=200, content=b"", length=None)
        asked = []

        def do_GET(self):
            self.asked.append(self.path)
            content, length = self.answer["content"], self.answer["length"]
            self.send_response(self.answer["status"])
            self.send_header("content-length", str(length or len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}/vit_models/"
        monkeypatch.setattr(weight_sources, "OFFICIAL_ADDRESS", address)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        monkeypatch.setattr(torch.hub, "urlopen", opener.open)
        yield Handler
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def here(monkeypatch):
    """socket.create_connection asks getaddrinfo even for numbers: let it."""
    resolve = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, port, *rest, **more: (
            [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]
            if host == "127.0.0.1"
            else resolve(host, port, *rest, **more)
        ),
    )


@pytest.mark.parametrize("terminal", [False, True])
def test_official_file_is_fetched_and_cached(
    server, cache, terminal, monkeypatch, capsys
):
    server.answer = dict(status=200, content=npz(), length=None)
    server.asked = []
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    model = from_pretrained(f"official:{NAME}", quiet=True).eval()
    expected = official_forward(official_arrays(WIDE), images_for(WIDE))
    np.testing.assert_allclose(
        model(images_for(WIDE)).detach(), expected, atol=1e-5, rtol=0
    )
    assert server.asked == [f"/vit_models/{NAME}"]
    assert [path.name for path in cache.iterdir()] == ["augreg_Ti_16-i21k.npz"]
    assert ("100%" in capsys.readouterr().err) == terminal
    from_pretrained(f"official:{NAME}", quiet=True)
    assert len(server.asked) == 1  # from the cache


@pytest.mark.parametrize("fault", ["content", "truncated", "no weights"])
def test_damaged_download_leaves_nothing_behind(server, cache, fault):
    content, length = npz(), None
    if fault == "content":
        content = content[:5000] + b"x" + content[5001:]
    elif fault == "truncated":
        length, content = len(content), content[:-1000]
    else:
        content = b"<html>Log in first</html>"
    server.answer = dict(status=200, content=content, length=length)
    refused(f"official:{NAME}", server_address(), "damaged", str(cache), "built-in")
    assert list(cache.iterdir()) == []


def server_address() -> str:
    return weight_sources.OFFICIAL_ADDRESS + NAME


def test_download_that_breaks_off_leaves_nothing_behind(server, cache, monkeypatch):
    class Response(io.BytesIO):
        def info(self):
            return http.client.HTTPMessage()

        def read(self, size):
            raise ConnectionResetError("Connection reset by peer")

    monkeypatch.setattr(torch.hub, "urlopen", lambda *_: Response(b"abc"))
    refused(f"official:{NAME}", server_address(), "Connection reset", "built-in")
    assert list(cache.iterdir()) == []


def test_name_that_the_server_does_not_know_is_told(server, cache):
    server.answer = dict(status=404, content=b"no", length=None)
    refused("official:none.npz", "none.npz", "404", "check the name")
    assert list(cache.iterdir()) == []
