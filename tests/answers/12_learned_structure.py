# %% 1 right: a number
pixels_away = 40

# %% 1 right: by hand
pixels_away = 0.5 * 0 + 0.5 * 16 * 5

# %% 1 right: by the function
from going_modular.attention_maps import mean_attention_distance

A = torch.zeros(1, 197, 197)
A[0, :, 0], looks, looked_at = 1.0, 1 + 5 * 14 + 5, 1 + 8 * 14 + 9
A[0, looks, 0], A[0, looks, looks], A[0, looks, looked_at] = 0.5, 0.25, 0.25
pixels_away = 196 * mean_attention_distance(A, (14, 14), 16).item()  # the others: 0

# %% 1 right: a tensor
pixels_away = torch.hypot(torch.tensor(48.0), torch.tensor(64.0)) / 2

# %% 1 wrong: not made to sum to one
pixels_away = 80 / 4

# %% 1 wrong: in patches
pixels_away = 2.5

# %% 1 wrong: the other patch alone
pixels_away = 80

# %% 1 wrong: around the corner
pixels_away = 16 * (3 + 4) / 2

# %% 1 wrong: around the corner, and not made to sum to one
pixels_away = 28

# %% 1 wrong: the mean of the two sides
pixels_away = 16 * 3.5

# %% 1 wrong: with a unit
pixels_away = "40 pixels"

# %% 2 right: the smallest
hardest = min(range(1, 7), key=without_mlp)

# %% 2 right: by a tensor
hardest = 1 + torch.tensor([without_mlp(block) for block in range(1, 7)]).argmin()

# %% 2 right: a number
hardest = 1

# %% 2 right: a loop
hardest, lowest = None, 1.0
for block in range(1, 7):
    if without_mlp(block) < lowest:
        hardest, lowest = block, without_mlp(block)

# %% 2 wrong: counted from 0
hardest = 0

# %% 2 wrong: the last
hardest = 6

# %% 2 wrong: the second
hardest = 2

# %% 2 wrong: the easiest
hardest = max(range(2, 7), key=without_mlp)

# %% 2 wrong: the accuracy
hardest = without_mlp(1)

# %% 2 wrong: all of them
hardest = [1, 2, 3, 4, 5, 6]

# %% 2 wrong: a word
hardest = "the first"


# %% 3 right: normalised first
def lens_of_class(model, z):
    return model.head(model.layer_norm(z))[:, 0]


# %% 3 right: step by step
def lens_of_class(model, z):
    class_token = z.select(1, 0)
    y = model.layer_norm(class_token)
    return model.head(y)


# %% 3 right: LayerNorm by hand
def lens_of_class(model, z):
    token, norm = z[:, 0], model.layer_norm
    centred = token - token.mean(dim=-1, keepdim=True)
    scaled = centred / (centred.square().mean(dim=-1, keepdim=True) + norm.eps) ** 0.5
    return model.head(scaled * norm.weight + norm.bias)


# %% 3 right: image by image
def lens_of_class(model, z):
    return torch.stack([model.head(model.layer_norm(tokens[0])) for tokens in z])


# %% 3 wrong: as it was
def lens_of_class(model, z):
    return model.head(z.mean(dim=1))


# %% 3 wrong: without LayerNorm
def lens_of_class(model, z):
    return model.head(z[:, 0])


# %% 3 wrong: the mean, normalised
def lens_of_class(model, z):
    return model.head(model.layer_norm(z.mean(dim=1)))


# %% 3 wrong: the mean of the normalised
def lens_of_class(model, z):
    return model.head(model.layer_norm(z).mean(dim=1))


# %% 3 wrong: every token
def lens_of_class(model, z):
    return model.head(model.layer_norm(z))


# %% 3 wrong: the first image
def lens_of_class(model, z):
    return model.head(model.layer_norm(z[0]))


# %% 3 wrong: the last token
def lens_of_class(model, z):
    return model.head(model.layer_norm(z[:, -1]))


# %% 3 wrong: probabilities
def lens_of_class(model, z):
    return model.head(model.layer_norm(z[:, 0])).softmax(dim=-1)


# %% 4 right: diagonals
def at_step(cosines, step):
    same_row = cosines.diagonal(dim1=0, dim2=2)  # (C, C, R)
    return same_row.diagonal(step, dim1=0, dim2=1).mean()


# %% 4 right: plain numbers
def at_step(cosines, step):
    R, C = cosines.shape[:2]
    found = [
        cosines[r, a, r, b].item()
        for r in range(R)
        for a in range(C)
        for b in range(C)
        if b - a == step
    ]
    return sum(found) / len(found)


# %% 4 right: a mask, and both directions
def at_step(cosines, step):
    R, C = cosines.shape[:2]
    row = torch.arange(R).view(R, 1, 1, 1) == torch.arange(R).view(1, 1, R, 1)
    apart = torch.arange(C).view(1, C, 1, 1) - torch.arange(C).view(1, 1, 1, C)
    return cosines[row & (apart.abs() == step)].mean()


# %% 4 wrong: the same column
def at_step(cosines, step):
    same_column = cosines.diagonal(dim1=1, dim2=3)
    return same_column.diagonal(step % len(cosines), dim1=0, dim2=1).mean()


# %% 4 wrong: around the edge
def at_step(cosines, step):
    R, C = cosines.shape[:2]
    found = [cosines[r, a, r, (a + step) % C] for r in range(R) for a in range(C)]
    return torch.stack(found).mean()


# %% 4 wrong: any row
def at_step(cosines, step):
    C = cosines.shape[1]
    found = [cosines[:, a, :, a + step].flatten() for a in range(C - step)]
    return torch.cat(found).mean()


# %% 4 wrong: a sum
def at_step(cosines, step):
    same_row = cosines.diagonal(dim1=0, dim2=2)
    return same_row.diagonal(step, dim1=0, dim2=1).sum()


# %% 4 wrong: the step is ignored
def at_step(cosines, step):
    same_row = cosines.diagonal(dim1=0, dim2=2)
    return same_row.diagonal(1, dim1=0, dim2=1).mean()


# %% 4 wrong: from the first column only
def at_step(cosines, step):
    return torch.stack([row[0, i, step] for i, row in enumerate(cosines)]).mean()


# %% 4 wrong: all pairs
def at_step(cosines, step):
    return cosines.mean()


# %% 4 wrong: a square grid is taken for granted
def at_step(cosines, step):
    C = cosines.shape[0]
    found = [cosines[r, a, r, a + step] for r in range(C) for a in range(C - step)]
    return torch.stack(found).mean()
