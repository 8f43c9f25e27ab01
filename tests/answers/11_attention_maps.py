# %% 1 right: a decimal
share_of_the_eye = 0.5625

# %% 1 right: by matrices
A_1 = torch.tensor([[0, 1.0, 0], [0, 1, 0], [0, 0.5, 0.5]])
A_2 = torch.tensor([[0, 0.5, 0.5], [0, 1, 0], [0, 0, 1]])
share_of_the_eye = ((A_2 + torch.eye(3)) @ (A_1 + torch.eye(3)) / 4)[0, 1]

# %% 1 right: a fraction
from fractions import Fraction

share_of_the_eye = Fraction(9, 16)

# %% 1 right: what is left of one
share_of_the_eye = 1 - 1 / 4 - 3 / 16

# %% 1 wrong: no residual connections
share_of_the_eye = 1 / 2 + 1 / 4

# %% 1 wrong: the layers the other way round
share_of_the_eye = 0.625

# %% 1 wrong: layer 2 alone
share_of_the_eye = 0.25

# %% 1 wrong: the background's way is forgotten
share_of_the_eye = 1 / 4 + 1 / 4

# %% 1 wrong: not divided
share_of_the_eye = 9 / 4

# %% 1 wrong: the class token's own half is forgotten
share_of_the_eye = 1 / 4 + 1 / 16

# %% 1 wrong: per cent
share_of_the_eye = 56.25

# %% 1 wrong: a word
share_of_the_eye = "9/16"

# %% 2 right: a loop
how_many = 0
while sneaker_without(ranking[:how_many]) >= 0.5:
    how_many += 1

# %% 2 right: a tensor
left = torch.tensor([sneaker_without(ranking[:n]) for n in range(50)])
how_many = (left < 0.5).nonzero()[0, 0]

# %% 2 right: a number
how_many = 10

# %% 2 right: a float that is whole
how_many = 10.0

# %% 2 wrong: one too few
how_many = 9

# %% 2 wrong: one too many
how_many = 11

# %% 2 wrong: a single patch
how_many = 1

# %% 2 wrong: all of them
how_many = 49

# %% 2 wrong: how many stay
how_many = 39

# %% 2 wrong: the probability
how_many = sneaker_without(ranking[:10])

# %% 2 wrong: the patches
how_many = ranking[:10].tolist()

# %% 2 wrong: a word
how_many = "ten"


# %% 3 right: without the class token first
def looks_at(A, row, column, columns):
    return A[1:, 1:][row * columns + column]


# %% 3 right: through a grid
def looks_at(A, row, column, columns):
    return A[1:, 1:].unflatten(0, (-1, columns))[row, column]


# %% 3 right: a loop
def looks_at(A, row, column, columns):
    token = row * columns + column + 1
    return torch.stack([A[token, j] for j in range(1, len(A))])


# %% 3 right: a list of numbers
def looks_at(A, row, column, columns):
    return A.tolist()[row * columns + column + 1][1:]


# %% 3 wrong: as it was
def looks_at(A, row, column, columns):
    return A[1:, row * columns + column]


# %% 3 wrong: still a column
def looks_at(A, row, column, columns):
    return A[1:, 1 + row * columns + column]


# %% 3 wrong: still one token too early
def looks_at(A, row, column, columns):
    return A[row * columns + column, 1:]


# %% 3 wrong: the class token is in it
def looks_at(A, row, column, columns):
    return A[1 + row * columns + column]


# %% 3 wrong: row and column exchanged
def looks_at(A, row, column, columns):
    return A[1 + column * columns + row, 1:]


# %% 3 wrong: the class token's view, whichever patch is asked for
def looks_at(A, row, column, columns):
    return A[0, 1:]


# %% 3 wrong: on the grid
def looks_at(A, row, column, columns):
    return A[1 + row * columns + column, 1:].view(-1, columns)


# %% 3 wrong: nothing is returned
def looks_at(A, row, column, columns):
    A[1 + row * columns + column, 1:]


# %% 4 right: two areas
def area_between(shares, lowest, highest):
    return torch.trapezoid(lowest, shares) - torch.trapezoid(highest, shares)


# %% 4 right: by hand
def area_between(shares, lowest, highest):
    gap = lowest - highest
    return (shares.diff() * (gap[1:] + gap[:-1]) / 2).sum()


# %% 4 right: a loop of plain numbers
def area_between(shares, lowest, highest):
    total = 0.0
    for i in range(len(shares) - 1):
        width = float(shares[i + 1] - shares[i])
        heights = [float(lowest[j] - highest[j]) for j in (i, i + 1)]
        total += width * sum(heights) / 2
    return total


# %% 4 right: NumPy
import numpy as np


def area_between(shares, lowest, highest):
    gap = (lowest - highest).numpy()
    return (np.diff(shares.numpy()) * (gap[1:] + gap[:-1]) / 2).sum()


# %% 4 wrong: the mean of the heights
def area_between(shares, lowest, highest):
    return (lowest - highest).mean()


# %% 4 wrong: the sign
def area_between(shares, lowest, highest):
    return torch.trapezoid(highest - lowest, shares)


# %% 4 wrong: one curve
def area_between(shares, lowest, highest):
    return torch.trapezoid(highest, shares)


# %% 4 wrong: steps, not slopes
def area_between(shares, lowest, highest):
    return (shares.diff() * (lowest - highest)[:-1]).sum()


# %% 4 wrong: never negative
def area_between(shares, lowest, highest):
    return torch.trapezoid((lowest - highest).abs(), shares)


# %% 4 wrong: unit steps
def area_between(shares, lowest, highest):
    return torch.trapezoid(lowest - highest)


# %% 4 wrong: arguments exchanged
def area_between(shares, lowest, highest):
    return torch.trapezoid(shares, lowest - highest)


# %% 4 wrong: divided by the number of steps
def area_between(shares, lowest, highest):
    return (lowest - highest).sum() / (len(shares) - 1)
