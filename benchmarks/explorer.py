"""How fast the attention explorer answers a pointer, and how large its page is.

    python -m benchmarks.explorer

ViT-B/16 with random weights: 197 tokens, 12 layers, 12 heads, the mean of heads shown.
In a real browser:

- redraw: each of the 196 patches becomes the query, and the style and layout that
  follow are forced, so that all work but painting is inside the time;
- frames: the pointer crosses all patches, and the time from each frame to the next is
  taken meanwhile. At 60 frames a second it is 16.7 ms.

And of the page in which the built-in model runs:

- live, a pass: from the bytes of an image to the logits, with every intermediate kept;
- live, first paint: from opening the file to the first picture on the screen.

Writes benchmarks/results/explorer.json.
"""

import argparse
import base64
import statistics
import sys
import tempfile
from pathlib import Path

import torch

from benchmarks.command import RESULTS, check_files, run_command, write_json
from going_modular.command_line.flags import one_line_parser
from going_modular.config import ViTConfig
from going_modular.data_setup import load_builtin, load_photo
from going_modular.errors import InputError
from going_modular.explorer.bundle import bundle
from going_modular.explorer.data import explore_image
from going_modular.explorer.live_page import live_page, to_bytes
from going_modular.explorer.page import write_page
from going_modular.explorer.widget import VIEWS
from going_modular.pretrained import from_pretrained
from going_modular.utils import describe_machine
from going_modular.vit import ViT
from tests.browser import ExplorerOnScreen, find_browser, open_browser, open_file

REDRAW = """(handle, view) => {
  handle.set({ view });
  const times = [];
  for (let row = 0; row < 14; row++) for (let column = 0; column < 14; column++) {
    const start = performance.now();
    handle.set({ row, column });
    document.body.getBoundingClientRect();
    times.push(performance.now() - start);
  }
  return times;
}"""
WATCH = """() => {
  globalThis.frames = [];
  const note = (time) => { frames.push(time); requestAnimationFrame(note); };
  requestAnimationFrame(note);
}"""


PASSES = """(text) => {
  const buffer = Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
  const model = live.readModel(buffer);
  const { channels, height, width } = model.sizes;
  const times = [];
  for (let pass = 0; pass < 60; pass++) {
    const bytes = Uint8Array.from({ length: channels * height * width },
      (_, i) => (37 * i + 11 * pass) % 256);
    const start = performance.now();
    live.vit(model, bytes);
    times.push(performance.now() - start);
  }
  return times.slice(20); // the first ones warm the compiler up
}"""
PAINT = """() => new Promise((done) => {
  new PerformanceObserver((list) => done(list.getEntries()[0].startTime))
    .observe({ type: "paint", buffered: true });
})"""


def summary(times: list[float]) -> dict[str, float]:
    """Milliseconds: mean, median and greatest."""
    return {
        "mean_ms": round(statistics.mean(times), 3),
        "median_ms": round(statistics.median(times), 3),
        "greatest_ms": round(max(times), 3),
    }


def measure(page) -> dict:
    shown = ExplorerOnScreen(page)
    results = {}
    for view in VIEWS:
        shown.ask(REDRAW, view)  # warms the compiler up
        results[f"redraw, {view}"] = summary(shown.ask(REDRAW, view))
    page.evaluate(WATCH)
    left, top = shown.centre(0, 0)
    right, bottom = shown.centre(13, 13)
    for row in range(14):
        y = top + row * (bottom - top) / 13
        page.mouse.move(left, y)
        page.mouse.move(right, y, steps=42)
    frames = page.evaluate("frames")
    intervals = [b - a for a, b in zip(frames, frames[1:], strict=False)]
    return {**results, "frames": {"count": len(intervals), **summary(intervals)}}


def measure_live(browser, folder: Path) -> dict:
    """How long a pass takes, and until the page can be seen."""
    model = from_pretrained("built-in", quiet=True)
    names = load_builtin()[1].class_names
    script = bundle("live/worker.js") + "\nglobalThis.live = { readModel, vit };"
    page = browser.new_page()
    page.add_script_tag(content=script, type="module")
    page.wait_for_function("globalThis.live")
    weights = base64.b64encode(to_bytes(model, names)).decode()
    passes = summary(page.evaluate(PASSES, weights))
    path = folder / "live.html"
    path.write_text(live_page(model, names), encoding="utf-8")
    paints = []
    for _ in range(5):
        page = open_file(browser, path)
        paints.append(page.evaluate(PAINT))
        page.close()
    return {
        "live, bytes": path.stat().st_size,
        "live, a pass": passes,
        "live, first paint": summary(paints),
    }


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = one_line_parser(__doc__.split("\n")[0])
    parser.add_argument("--json", type=Path, default=RESULTS / "explorer.json")
    args = parser.parse_args(argv)
    check_files(args, "json")
    args.browser = find_browser()
    if args.browser is None:
        raise InputError("no Chromium or Chrome on the PATH: install one")
    return args


def run(args: argparse.Namespace) -> None:
    torch.manual_seed(0)
    model = ViT(ViTConfig.from_variant("B/16")).eval()
    names = [f"class {i}" for i in range(1000)]
    exploration = explore_image(model, load_photo("chelsea"), names)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "explorer.html"
        write_page(path, exploration)
        figures = {**describe_machine(), "bytes": path.stat().st_size}
        with open_browser(args.browser) as browser:
            figures["browser"] = browser.version
            page = open_file(browser, path, viewport=dict(width=1000, height=900))
            figures.update(measure(page))
            figures.update(measure_live(browser, Path(folder)))
    for name, value in figures.items():
        print(f"{name:24} {value}")
    write_json(args.json, figures)


def main(argv: list[str] | None = None) -> int:
    return run_command(parse, run, argv)


if __name__ == "__main__":
    sys.exit(main())
