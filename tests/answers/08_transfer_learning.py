# %% 1 wrong: not transposed
def output_weight(kernel):
    return kernel.flatten(0, 1)


# %% 1 wrong: the axes of heads and width swapped
def output_weight(kernel):
    return kernel.transpose(0, 1).flatten(0, 1).T


# %% 2 wrong: the bias is not scaled
def fold(weight, bias, gamma):
    return torch.cat([gamma[:, None] * weight, bias[:, None]], dim=1)


# %% 2 wrong: columns are scaled, not rows
def fold(weight, bias, gamma):
    scaled = weight * gamma[: weight.shape[1]]
    return torch.cat([scaled, (gamma * bias)[:, None]], dim=1)


# %% 3 wrong: the bias of the head is forgotten
answer = [37 * 768, 577]

# %% 3 wrong: the class token loses its row
answer = [28_453, 576]

# %% 3 wrong: positions of the old resolution
answer = [28_453, 197]
