"""Run the notebooks and the numeric tests as other processors would compute them.

python tools/test_portable.py                  every setting
python tools/test_portable.py mkl-compatible   one of them

Processors add numbers in different orders, so their last digits differ, and training
carries that difference far. What a notebook prints, or what a test tolerates, may hang
on the digits of one processor and fail on another. Here the libraries are told to
compute otherwise than they would by themselves.

Knobs that changed no bit on an AVX2 processor are left out: MKL_ENABLE_INSTRUCTIONS and
MKL_DEBUG_CPU_TYPE, OPENBLAS_NUM_THREADS (OMP_NUM_THREADS reaches OpenBLAS, too) and
OPENBLAS_CORETYPE=Zen, which computes like Haswell. ATEN_CPU_CAPABILITY=avx2 and
ONEDNN_MAX_CPU_ISA=AVX2 change nothing there either; they are for AVX-512, untried.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).parents[1]
# What each knob moves: ATEN_CPU_CAPABILITY torch's own kernels and random numbers,
# MKL_CBWR its matrix products and decompositions, ONEDNN_MAX_CPU_ISA its convolutions
# and GELU, OPENBLAS_CORETYPE the products of NumPy and SciPy, NPY_DISABLE_CPU_FEATURES
# NumPy's sines and exponentials, the number of threads the order of long sums.
SETTINGS = {
    "no-vectors": dict(
        OMP_NUM_THREADS="1",
        ATEN_CPU_CAPABILITY="default",
        ONEDNN_MAX_CPU_ISA="SSE41",
        OPENBLAS_CORETYPE="Prescott",
        NPY_DISABLE_CPU_FEATURES="X86_V3",
    ),
    "mkl-compatible": dict(
        OMP_NUM_THREADS="1",
        ATEN_CPU_CAPABILITY="avx2",
        ONEDNN_MAX_CPU_ISA="AVX2",
        MKL_CBWR="COMPATIBLE",
        OPENBLAS_CORETYPE="Nehalem",
    ),
    "two-threads": dict(
        OMP_NUM_THREADS="2",
        MKL_NUM_THREADS="2",
        ONEDNN_MAX_CPU_ISA="AVX",
        MKL_CBWR="AVX2",
        OPENBLAS_CORETYPE="Sandybridge",
    ),
}
# A test is numeric if it compares numbers with one of these ...
COMPARES = re.compile(r"check_close|assert_close|allclose|approx|check_same|\.equal\(")
# ... unless it takes minutes and compares no more than one machine's bits with its own.
SLOW = {"test_explorer_browser.py", "test_interruptions.py", "test_processes.py"}

PROBE = """
import hashlib, numpy, torch
torch.manual_seed(0)
a, x = torch.randn(300, 300), torch.randn(2, 8, 32, 32)
functional = torch.nn.functional
found = [a, a @ a, torch.linalg.svdvals(a), torch.randn(100_003).sum(), a.softmax(1)]
found += [functional.conv2d(x, torch.randn(8, 8, 3, 3)), functional.gelu(a)]
b = numpy.random.default_rng(0).normal(size=(300, 300)).astype("float32")
found = [x.numpy() for x in found] + [b @ b, numpy.sin(b), numpy.linalg.svd(b)[1]]
print(hashlib.sha256(b"".join(x.tobytes() for x in found)).hexdigest())
"""


def fingerprint(knobs: dict[str, str]) -> str:
    """A digest of sums and products as they are computed under a setting."""
    command = [sys.executable, "-c", PROBE]
    options = dict(env=os.environ | knobs, capture_output=True, text=True, check=True)
    return subprocess.run(command, **options).stdout


def numeric_tests() -> list[str]:
    files = sorted((ROOT / "tests").glob("test_*.py"))
    numeric = (f for f in files if COMPARES.search(f.read_text(encoding="utf-8")))
    return [f"tests/{f.name}" for f in numeric if f.name not in SLOW]


def run(knobs: dict[str, str]) -> tuple[int, list[str], float]:
    """Run everything under one setting.

    Returns:
        How many passed, the names of those that did not, and the minutes it took.
    """
    workers = max(1, 2 // int(knobs["OMP_NUM_THREADS"]))
    nbval = "--nbval --nbval-current-env --nbval-sanitize-with"
    command = [sys.executable, "-m", "pytest", "-n", str(workers), "--dist", "loadfile"]
    command += ["-p", "no:cacheprovider", *nbval.split(), "tests/nbval_sanitize.cfg"]
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command += ["--junit-xml", str(report), "notebooks", *numeric_tests()]
        status = subprocess.run(command, cwd=ROOT, env=os.environ | knobs).returncode
        if not report.exists():
            raise SystemExit(f"pytest ended with status {status} and no report")
        cases = list(ElementTree.parse(report).iter("testcase"))
    bad = {"failure", "error"}
    failed = [c for c in cases if bad & {child.tag for child in c}]
    passed = len([c for c in cases if not len(c)])
    names = [f"{c.get('classname')}: {c.get('name')}" for c in failed]
    if status and not names:
        names = [f"pytest ended with status {status}"]
    return passed, names, (time.perf_counter() - start) / 60


def main() -> int:
    chosen = sys.argv[1:] or list(SETTINGS)
    if unknown := set(chosen) - set(SETTINGS):
        print(f"unknown: {', '.join(unknown)}; there are {', '.join(SETTINGS)}")
        return 2
    known = {fingerprint({"OMP_NUM_THREADS": "1"}): "the machine's own"}
    rows, failures = [], []
    for name in chosen:
        digits = fingerprint(SETTINGS[name])
        if digits in known:
            rows.append(f"{name:16} computes like {known[digits]} here: not run")
            continue
        known[digits] = name
        print(name, *(f"{k}={v}" for k, v in SETTINGS[name].items()), flush=True)
        passed, failed, minutes = run(SETTINGS[name])
        rows.append(f"{name:16}{passed:6}{len(failed):8}{minutes:9.1f}")
        failures += [f"{name}: {test}" for test in failed]
    print(f"\n{'setting':16}{'passed':>6}{'failed':>8}{'minutes':>9}", *rows, sep="\n")
    print(*failures, sep="\n")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
