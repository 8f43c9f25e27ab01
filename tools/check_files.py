"""Check the files that git keeps: their size, and stray whitespace.

python tools/check_files.py
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
MOST_BYTES = {".ipynb": 1_500_000}  # other files: 500 kB
EXCEPTIONS = {
    "going_modular/data/fashion_mnist_subset.npz.xz": 6_000_000,
    "going_modular/weights/built_in.safetensors": 6_000_000,
}
TEXT = {".md", ".py", ".toml", ".txt", ".yaml", ".yml", ".cfg", ".lock", ".json", ""}


def complaints(path: Path) -> list[str]:
    """What is wrong with one file, one line each."""
    name = path.relative_to(ROOT).as_posix()
    found = []
    limit = EXCEPTIONS.get(name, MOST_BYTES.get(path.suffix, 500_000))
    if path.stat().st_size > limit:
        found.append(f"{name}: {path.stat().st_size:,} bytes, more than {limit:,}")
    if path.suffix in TEXT:
        text = path.read_text(encoding="utf-8")
        for number, line in enumerate(text.split("\n"), start=1):
            if line != line.rstrip():
                found.append(f"{name}:{number}: whitespace at the end of the line")
        if text and not text.endswith("\n"):
            found.append(f"{name}: no newline at the end")
    return found


def main() -> int:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True
    )
    paths = [ROOT / name for name in sorted(set(listed.stdout.splitlines()))]
    found = sum((complaints(path) for path in paths if path.is_file()), [])
    print("\n".join(found) or f"{len(paths)} files checked")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
