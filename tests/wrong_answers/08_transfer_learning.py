# %% 1 not transposed
def output_weight(kernel):
    return kernel.flatten(0, 1)


# %% 1 the axes of heads and width swapped
def output_weight(kernel):
    return kernel.transpose(0, 1).flatten(0, 1).T


# %% 2 the bias is not scaled
def fold(weight, bias, gamma):
    return torch.cat([gamma[:, None] * weight, bias[:, None]], dim=1)


# %% 2 columns are scaled, not rows
def fold(weight, bias, gamma):
    scaled = weight * gamma[: weight.shape[1]]
    return torch.cat([scaled, (gamma * bias)[:, None]], dim=1)


# %% 3 the bias of the head is forgotten
answer = [37 * 768, 577]

# %% 3 the class token loses its row
answer = [28_453, 576]

# %% 3 positions of the old resolution
answer = [28_453, 197]
