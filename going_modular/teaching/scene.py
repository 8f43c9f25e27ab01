"""One photo and six named tokens, small enough to follow by hand.

Notebooks 02 to 06 carry these tokens through every step of the model. The photo is
shrunk to 21 x 21 grey pixels and cut into patches of 3 x 3. Five of the 49 patches
are followed, and the class token. All weights are small whole numbers. Nobody
trained them: they were chosen so that the sums stay easy and the result makes sense.
"""

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from going_modular.data_setup import load_photo

__all__ = [
    "B_1",
    "B_2",
    "CLASS_TOKEN",
    "E",
    "E_POS",
    "NAMES",
    "PLACES",
    "QUESTIONS",
    "UNITS",
    "U_K",
    "U_MSA",
    "U_Q",
    "U_V",
    "W_1",
    "W_2",
    "block",
    "named_patches",
    "small_photo",
    "z0",
]

# Row and column on the grid of 7 x 7 patches, in the order of the sequence.
PLACES = {
    "fur": (0, 3),
    "eye": (2, 2),
    "stripe": (4, 3),
    "nose": (5, 4),
    "background": (6, 6),
}
NAMES = ("class", *PLACES)  # the T = 6 tokens

# What each of the D = 4 numbers of a token says, as E asks it of a patch: Is it
# darker in the middle than above and below? How bright is its middle? Is it brighter
# on the left than on the right? Is it brighter below than above?
QUESTIONS = ("spot", "bright", "left", "below")

# (P*P*C, D): each column is a filter of 3 x 3 weights, flattened row by row.
E = torch.tensor(
    [
        [0, 1, 0, 0, -2, 0, 0, 1, 0],  # spot
        [0, 0, 0, 0, 1, 0, 0, 0, 0],  # bright
        [0, 0, 0, 1, 0, -1, 0, 0, 0],  # left
        [-1, 0, -1, 0, 0, 0, 1, 0, 1],  # below
    ]
).T.float()
CLASS_TOKEN = torch.tensor([[1.0, 0, 0, -1]])  # (1, D), x_class
E_POS = torch.tensor(  # (T, D), one row for each token
    [
        [0.0, 1, -1, 0],  # class
        [-1, 0, 0, 0],  # fur
        [0, 0, 1, -1],  # eye
        [-2, 0, 0, 1],  # stripe
        [0, 0, 0, 2],  # nose
        [0, 0, -1, 0],  # background
    ]
)

# (D, D): attention. With two heads of D_h = 2, the first two columns belong to the
# first head. The first number of a key is "spot and left", as an eye has them; the
# third is "spot and below", as a nose has them. The queries ask for these.
U_Q = torch.tensor([[1.0, 0, 1, 0], [0, 0, 0, 0], [-1, 0, 0, 0], [0, 0, -1, 0]])
U_K = torch.tensor([[1.0, 0, 1, 0], [0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0]])
U_V = torch.tensor([[1.0, 0, 1, 0], [0, 1, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]])
U_MSA = torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0]])

# (D, F) and (F, D): the MLP. Each of the F = 8 hidden units recognises something, and
# writes what it recognised back to the token.
UNITS = ("face", "surface", "eye", "nose", "fur", "background", "stripe", "class")
W_1 = torch.tensor(
    [
        [1, -1, 0, 0],  # face: a spot, and not bright
        [-1, 1, 0, 0],  # surface: bright, and not a spot
        [1, 0, 1, 0],
        [1, 0, 0, 1],
        [0, 1, 1, 0],
        [0, 1, 0, 1],
        [0, 0, 1, 1],
        [1, 1, 0, 0],
    ]
).T.float()
B_1 = -torch.ones(8)  # (F,), so that only what is recognised clearly counts
W_2 = torch.tensor(
    [
        [1.0, -1, 0, 0],  # face
        [-1, 1, 0, 0],  # surface
        [0, 0, 1, -1],  # eye
        [0, 0, -1, 1],  # nose
        [0, 0, 1, -1],  # fur
        [0, 0, -1, 1],  # background
        [-1, -1, 1, 1],  # stripe
        [1, 1, -1, -1],  # class
    ]
)
B_2 = torch.zeros(4)  # (D,)


def small_photo() -> Tensor:
    """The cat as (21, 21) grey levels, whole numbers from -5 to 4; 0 is brown fur.

    Each pixel is the mean of a square of about 11 x 11 pixels and of its three
    colours, less 90, divided by 18 and rounded.
    """
    grey = load_photo("chelsea").float().mean(dim=0)  # (224, 224)
    pixels = adaptive_avg_pool2d(grey[None], 21)[0]  # (21, 21)
    return ((pixels - 90) / 18).round()


def named_patches() -> Tensor:
    """The five patches of `PLACES` as (5, 9) rows of pixels."""
    grid = small_photo().unfold(0, 3, 3).unfold(1, 3, 3)  # (7, 7, 3, 3)
    return torch.stack([grid[place].flatten() for place in PLACES.values()])


def z0() -> Tensor:
    """Equation 1 for the scene: (T, D) whole numbers."""
    return torch.cat([CLASS_TOKEN, named_patches() @ E]) + E_POS


def layer_norm(z: Tensor) -> Tensor:
    return torch.nn.functional.layer_norm(z, z.shape[-1:], eps=1e-6)


def msa(z: Tensor, num_heads: int = 2) -> tuple[Tensor, Tensor]:
    """Equations 5 to 8: (T, D) tokens, and the (nh, T, T) attention weights."""
    q, k, v = (
        (z @ U).unflatten(-1, (num_heads, -1)).transpose(0, 1) for U in (U_Q, U_K, U_V)
    )  # each (nh, T, dh)
    attention = (q @ k.mT / q.shape[-1] ** 0.5).softmax(dim=-1)  # (nh, T, T)
    sa = (attention @ v).transpose(0, 1).flatten(1)  # (T, D)
    return sa @ U_MSA, attention


def mlp(z: Tensor) -> Tensor:
    return torch.nn.functional.gelu(z @ W_1 + B_1) @ W_2 + B_2


def block(z: Tensor) -> tuple[Tensor, Tensor]:
    """Equations 2 and 3: z' and z of one block, (T, D) each."""
    z_prime = msa(layer_norm(z))[0] + z
    return z_prime, mlp(layer_norm(z_prime)) + z_prime
