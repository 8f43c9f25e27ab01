# %% 1 right: counted side by side
tokens = 320 // 16 * 240 // 16 + 1

# %% 1 right: the area divided by the patch's
tokens = 320 * 240 / 16**2 + 1

# %% 1 right: asked of the configuration
tokens = ViTConfig(image_size=(240, 320)).num_tokens

# %% 1 right: a tensor
tokens = torch.tensor(301)

# %% 1 wrong: the class token is forgotten
tokens = 20 * 15

# %% 1 wrong: P instead of P squared
tokens = 320 * 240 // 16

# %% 1 wrong: sides added
tokens = 20 + 15 + 1

# %% 1 wrong: colours counted as patches
tokens = 20 * 15 * 3 + 1

# %% 1 wrong: that of the square image
tokens = 197

# %% 1 wrong: pixels
tokens = 320 * 240

# %% 1 wrong: a word
tokens = "three hundred and one"

# %% 2 right: tried one by one
rows = [3]

# %% 2 right: a number alone
rows = 3

# %% 2 right: a loop, as a set
rows = set()
for row in range(7):
    if guess_without(row) != "Sneaker":
        rows.add(row)

# %% 2 right: a tensor
rows = torch.tensor([3])

# %% 2 wrong: the brightest row of the figure
rows = [2]

# %% 2 wrong: rows counted from 1
rows = [4]

# %% 2 right: a NumPy number
import numpy as np

rows = np.int64(3)

# %% 2 right: a float that is whole
rows = [3.0]

# %% 2 wrong: half a row
rows = [3.7]

# %% 2 wrong: those that do not change it
rows = [0, 1, 2, 4, 5, 6]

# %% 2 wrong: one too many
rows = [2, 3]

# %% 2 wrong: True and False
rows = [row == 3 for row in range(7)]

# %% 2 wrong: a row that is not there
rows = [7]

# %% 2 wrong: a table of guesses
rows = {row: guess_without(row) for row in range(7)}

# %% 2 wrong: none
rows = []

# %% 2 wrong: all
rows = list(range(7))

# %% 2 wrong: the whole shoe
rows = [2, 3, 4]

# %% 2 wrong: the name of the new guess
rows = "Sandal"

# %% 2 wrong: nothing
rows = None


# %% 3 right: with divmod of the flat index of patches
def token_of(y, x, width, patch_size):
    per_row = width // patch_size
    return 1 + per_row * (y // patch_size) + x // patch_size


# %% 3 right: by counting
def token_of(y, x, width, patch_size):
    number = 1
    for _ in range(y // patch_size):
        number += width // patch_size
    for _ in range(x // patch_size):
        number += 1
    return number


# %% 3 right: a lambda and a float that is whole
import math

token_of = lambda y, x, width, P: (
    math.floor(y / P) * (width / P) + math.floor(x / P) + 1
)


# %% 3 wrong: the class token is forgotten
def token_of(y, x, width, patch_size):
    return y // patch_size * (width // patch_size) + x // patch_size


# %% 3 wrong: column by column
def token_of(y, x, width, patch_size):
    return x // patch_size * (width // patch_size) + y // patch_size + 1


# %% 3 wrong: as it was
def token_of(y, x, width, patch_size):
    row, column = y // patch_size, x // patch_size
    return column * (width // patch_size) + row


# %% 3 wrong: a row holds `width` patches
def token_of(y, x, width, patch_size):
    return y // patch_size * width + x // patch_size + 1


# %% 3 wrong: parts of tokens
def token_of(y, x, width, patch_size):
    return y / patch_size * (width / patch_size) + x / patch_size + 1


# %% 3 wrong: always the same
def token_of(y, x, width, patch_size):
    return 1


# %% 3 wrong: it stops
def token_of(y, x, width, patch_size):
    return y // patch_size * columns + x // patch_size + 1


# %% 3 wrong: what the function gives, not the function
token_of = 1 + 0

# %% 4 right: by numbers
config = ViTConfig((32, 48), 8, embedding_dim=96, depth=6, num_heads=2, num_classes=7)

# %% 4 right: Tiny, changed
config = ViTConfig.from_variant(
    "B/8", (32, 48), 7, embedding_dim=96, depth=6, num_heads=2
)

# %% 4 right: a changed copy, and the size as a list
from dataclasses import replace

config = replace(
    ViTConfig(image_size=[32, 48], patch_size=8, num_classes=7, depth=6),
    embedding_dim=96,
    num_heads=2,
)

# %% 4 wrong: height and width exchanged
config = ViTConfig((48, 32), 8, embedding_dim=96, depth=6, num_heads=2, num_classes=7)

# %% 4 wrong: patches of 16 pixels
config = ViTConfig((32, 48), 16, embedding_dim=96, depth=6, num_heads=2, num_classes=7)

# %% 4 wrong: the width of Base
config = ViTConfig((32, 48), 8, depth=6, num_heads=2, num_classes=7)

# %% 4 wrong: the heads of Base
config = ViTConfig((32, 48), 8, embedding_dim=96, depth=6, num_classes=7)

# %% 4 wrong: the classes of ImageNet
config = ViTConfig((32, 48), 8, embedding_dim=96, depth=6, num_heads=2)

# %% 4 wrong: another MLP
config = ViTConfig(
    (32, 48), 8, embedding_dim=96, depth=6, num_heads=2, num_classes=7, mlp_size=384
)

# %% 4 wrong: another mean
config = ViTConfig(
    (32, 48), 8, embedding_dim=96, depth=6, num_heads=2, num_classes=7, mean=(0.1,)
)

# %% 4 wrong: a dictionary
config = dict(image_size=(32, 48), patch_size=8)
