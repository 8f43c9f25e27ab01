"""Finding the model in a checkpoint: its place, and what stands before its names.

A training script saves more than a model: two of them, wrapped by others, beside its
optimiser. What is wanted is where a tensor has the name of a patch projection.
"""

import re
from collections.abc import Iterator, Mapping

from going_modular.errors import InputError

__all__ = ["Choice", "choose_model"]

# What wrappers put anywhere into names.
WRAPPERS = {
    "module",
    "_orig_mod",
    "_checkpoint_wrapped_module",
    "_forward_module",
    "_fsdp_wrapped_module",
}
# The end of the patch projection's name, in all naming schemes that are known.
ENDINGS = (
    "patch_embed.proj.weight",
    "conv_proj.weight",
    "patch_embeddings.projection.weight",
    "patch_embedding.projection.weight",
    "embedding/kernel",
    "patch_embedding.weight",  # CLIP's and SigLIP's, refused by name later
    "conv1.weight",
)
BEGINNING = re.compile(
    r"(.*?)(embeddings\.)?(" + "|".join(map(re.escape, ENDINGS)) + ")"
)
# A hybrid's ResNet has layers of such names, too.
INSIDE = re.compile(r"patch_embed\w*\.")
NO_MODEL = "of no model, or of another"
# Layers, and not what is used in training alone.
BETWEEN = re.compile(
    r"^(?!.*(criterion|loss|metric|decoder|queue|optimi[sz]er|ema|predictor|projector))"
    r".*[./](weight|kernel|scale)$"
)
DEPTH = 4  # dictionaries within each other that are looked through
# Of several models, those that such words name are taken first, or last.
AVERAGED = re.compile(r"(^|[._/])(ema|swa|averag|teacher|target|shadow)", re.I)
LAST = re.compile(r"momentum|optimi[sz]er|decoder|predictor|text", re.I)
STUDENT = re.compile("student", re.I)  # learns from an averaged teacher
BEST = re.compile("best|optimal", re.I)


class Choice(dict):
    """The tensors of one model by their bare names.

    Attributes:
        originals: The names as they were, by the bare ones.
        left_out: Names of what belongs to no model or to another, and why.
        said: What was chosen among several, or "".
    """

    def __init__(self):
        super().__init__()
        self.originals: dict[str, str] = {}
        self.left_out: dict[str, str] = {}
        self.said = ""


def choose_model(state: Mapping, raw: bool = False) -> Choice:
    """Take one Vision Transformer's tensors out of whatever a file holds.

    Args:
        state: Dictionaries within each other.
        raw: Where weights lie beside their running average, take these.

    Raises:
        InputError: Two names become one.
    """
    places = list(dict.fromkeys(find_models(state)))
    choice = Choice()
    if not places:  # `recognise` will say what was there instead
        inner = max(containers(state), key=lambda pair: len(pair[1]))[1]
        take(choice, inner, "", [])
        return choice
    places.sort(key=lambda place: rank(place, raw))
    path, prefix = places[0]
    if len(places) > 1:
        others = ", ".join(name_of(*place) for place in places[1:])
        hint = ""
        if not raw and AVERAGED.search("".join(places[0])):
            hint = "; raw=True or --raw takes those"
        choice.said = f"{name_of(path, prefix)}, beside it {others}{hint}"
    inner = dict(containers(state))[path]
    take(choice, inner, prefix, [p for where, p in places[1:] if where == path])
    return choice


def containers(state: Mapping, path: str = "", seen=None) -> Iterator[tuple]:
    """Each dictionary in a state, and its place such as "state_dict"."""
    seen = set() if seen is None else seen
    if id(state) in seen or path.count(".") >= DEPTH:
        return
    seen.add(id(state))
    yield path, state
    for key, value in state.items():
        if isinstance(value, Mapping):
            yield from containers(value, f"{path}.{key}" if path else str(key), seen)


def find_models(state: Mapping) -> Iterator[tuple[str, str]]:
    """The place and the names' common beginning of each model."""
    for path, inner in containers(state):
        for key, value in inner.items():
            if not hasattr(value, "shape"):
                continue
            found = BEGINNING.fullmatch(unwrapped(str(key)))
            if not found or INSIDE.search(found[1]):
                continue
            if re.search(r"(^|[./])$", found[1]):
                yield path, found[1]


def rank(place: tuple[str, str], raw: bool) -> tuple:
    """Sorts first what is to be taken."""
    name = ".".join(place)
    averaged = bool(AVERAGED.search(name))
    student = bool(STUDENT.search(name))
    last = bool(LAST.search(name)) or (student and not raw)
    return last, averaged == raw, not BEST.search(name), len(name), name


def name_of(path: str, prefix: str) -> str:
    return ".".join(filter(None, (path, prefix.rstrip("./")))) or "the one without name"


def unwrapped(name: str) -> str:
    """A name without the words of wrappers."""
    if "/" in name:
        return name
    return ".".join(word for word in name.split(".") if word not in WRAPPERS)


def take(choice: Choice, inner: Mapping, prefix: str, others: list[str]) -> None:
    """Fill a choice with the tensors whose names begin with a prefix.

    A head may stand beside the body, under the beginning of its prefix.
    """
    blocks = chunks(inner, prefix)
    outer = [prefix[: place + 1] for place, c in enumerate(prefix) if c in "./"][::-1]
    for key, value in inner.items():
        name = unwrapped(str(key))
        if any(name.startswith(p) for p in others if len(p) > len(prefix)):
            choice.left_out[str(key)] = "of another model in the file"
            continue
        begin = next((p for p in (*outer, "") if name.startswith(p)), "")
        bare = name[len(begin) :]
        if blocks and (found := re.match(r"blocks\.(\d+)\.(\d+)\.", bare)):
            number = blocks[found[1], found[2]]
            bare = f"blocks.{number}.{bare[found.end() :]}"
        if begin != prefix and not is_head(bare):
            choice.left_out[str(key)] = NO_MODEL
            continue
        if bare in choice:
            raise InputError(
                f"{choice.originals[bare]} and {key} become one name: the weights "
                "hold two models, give one of them"
            )
        choice[bare], choice.originals[bare] = value, str(key)
    leave_out_distant_head(choice, prefix)


def leave_out_distant_head(choice: Choice, prefix: str) -> None:
    """Drop a head that stands beside the body where other layers do, too.

    They may come before it, and then its numbers mean nothing without them.
    """
    between = [
        key
        for key, why in choice.left_out.items()
        if why == NO_MODEL and BETWEEN.search(unwrapped(key))
    ]
    for bare, key in list(choice.originals.items()):
        if between and is_head(bare) and not unwrapped(key).startswith(prefix):
            del choice[bare], choice.originals[bare]
            choice.left_out[key] = f"a head that {between[0]} may come before"


def is_head(bare: str) -> bool:
    return re.match(r"(heads?|classifier|fc|linear)[./]", bare) is not None


def chunks(inner: Mapping, prefix: str) -> dict[tuple[str, str], int]:
    """Numbers of the blocks that DINOv2 stores in chunks, by chunk and place."""
    found = set()
    for key in inner:
        name = unwrapped(str(key)).removeprefix(prefix)
        if match := re.match(r"blocks\.(\d+)\.(\d+)\.", name):
            found.add((int(match[1]), int(match[2])))
    return {(str(a), str(b)): n for n, (a, b) in enumerate(sorted(found))}
