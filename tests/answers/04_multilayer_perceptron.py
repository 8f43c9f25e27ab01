# %% 1 right: multiplied out
def mlp_parameters(D, F, L):
    return L * (2 * D * F + D + F)


# %% 1 right: block by block
def mlp_parameters(D, F, L):
    total = 0
    for _ in range(L):
        total += (D + 1) * F
        total += (F + 1) * D
    return total


# %% 1 right: counted on modules
def mlp_parameters(D, F, L):
    with torch.device("meta"):
        layers = [nn.Sequential(nn.Linear(D, F), nn.Linear(F, D)) for _ in range(L)]
    return sum(p.numel() for layer in layers for p in layer.parameters())


# %% 1 right: asked of the package's own class
def mlp_parameters(D, F, L):
    with torch.device("meta"):
        config = ViTConfig(embedding_dim=D, mlp_size=F, num_heads=1, depth=L)
        mlp = MultilayerPerceptron(config)
    return L * sum(p.numel() for p in mlp.parameters())


# %% 1 wrong: biases forgotten
def mlp_parameters(D, F, L):
    return 2 * D * F * L


# %% 1 wrong: one matrix only
def mlp_parameters(D, F, L):
    return L * (D * F + F)


# %% 1 wrong: biases counted once, not in every block
def mlp_parameters(D, F, L):
    return 2 * D * F * L + F + D


# %% 1 wrong: one block
def mlp_parameters(D, F, L):
    return 2 * D * F + F + D


# %% 1 wrong: F is 4D
def mlp_parameters(D, F, L):
    return L * (8 * D**2 + 5 * D)


# %% 1 wrong: with the LayerNorm
def mlp_parameters(D, F, L):
    return L * (2 * D * F + F + D + 2 * D)


# %% 1 wrong: always ViT-Huge
def mlp_parameters(D, F, L):
    return 419_635_200


# %% 1 wrong: a number and not a function
mlp_parameters = 32 * (2 * 1280 * 5120 + 1280 + 5120)

# %% 2 right: written down
above_zero = ["class"]

# %% 2 right: one name
above_zero = "class"

# %% 2 right: computed, as a set
hidden = scene.layer_norm(scene.z0()) @ scene.W_1 + scene.B_1
answers = hidden[0]
above_zero = {n for n, h in zip(scene.UNITS, answers, strict=True) if h > 0}

# %% 2 right: by hand, from the four numbers
spot, bright, left, below = scene.layer_norm(scene.z0())[0].tolist()
sums = {
    "face": spot - bright, "surface": bright - spot, "eye": spot + left,
    "nose": spot + below, "fur": bright + left, "background": bright + below,
    "stripe": left + below, "class": spot + bright,
}  # fmt: skip
above_zero = tuple(name for name, total in sums.items() if total > 1)

# %% 2 wrong: after attention
above_zero = ["face", "eye", "nose", "class"]

# %% 2 wrong: face, since it is the class token
above_zero = ["face"]

# %% 2 wrong: face as well
above_zero = ["face", "class"]

# %% 2 wrong: without the bias, zero counted
above_zero = ["face", "surface", "eye", "nose", "fur", "background", "class"]

# %% 2 wrong: the eye's
above_zero = ["face", "eye"]

# %% 2 wrong: nothing
above_zero = []

# %% 2 wrong: numbers
above_zero = [7]

# %% 2 wrong: a tensor of truths
above_zero = (scene.layer_norm(scene.z0()) @ scene.W_1 + scene.B_1)[0] > 0

# %% 2 wrong: None
above_zero = None


# %% 3 right: by nn.LayerNorm and nn.GELU
def equation_3(z_prime, W_1, b_1, W_2, b_2):
    norm = nn.LayerNorm(z_prime.shape[-1], elementwise_affine=False)
    return z_prime + nn.GELU()(norm(z_prime) @ W_1 + b_1) @ W_2 + b_2


# %% 3 right: LN and GELU by hand
def equation_3(z_prime, W_1, b_1, W_2, b_2):
    deviation = z_prime - z_prime.mean(dim=-1, keepdim=True)
    u = deviation / (deviation.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt()
    h = u @ W_1 + b_1
    return h * (1 + torch.erf(h / 2**0.5)) / 2 @ W_2 + b_2 + z_prime


# %% 3 right: token by token, with F.linear
def equation_3(z_prime, W_1, b_1, W_2, b_2):
    rows = []
    for token in z_prime.flatten(0, 1):
        u = nn.functional.layer_norm(token, token.shape)
        h = nn.functional.gelu(nn.functional.linear(u, W_1.T, b_1))
        rows.append(nn.functional.linear(h, W_2.T, b_2) + token)
    return torch.stack(rows).view_as(z_prime)


# %% 3 wrong: as it was
def equation_3(z_prime, W_1, b_1, W_2, b_2):
    u = nn.functional.layer_norm(z_prime, z_prime.shape[1:])
    update = nn.functional.gelu((u @ W_1 + b_1) @ W_2 + b_2)
    return update + u


# %% 3 wrong: LN over all tokens
def equation_3(z_prime, W_1, b_1, W_2, b_2):
    u = nn.functional.layer_norm(z_prime, z_prime.shape[1:])
    return nn.functional.gelu(u @ W_1 + b_1) @ W_2 + b_2 + z_prime


# %% 3 wrong: normalised over the tokens
def equation_3(z_prime, W_1, b_1, W_2, b_2):
    spread = z_prime.std(dim=1, keepdim=True, correction=0)
    u = (z_prime - z_prime.mean(dim=1, keepdim=True)) / spread
    return nn.functional.gelu(u @ W_1 + b_1) @ W_2 + b_2 + z_prime


# %% 3 wrong: GELU after the second layer
def equation_3(z_prime, W_1, b_1, W_2, b_2):
    u = nn.functional.layer_norm(z_prime, z_prime.shape[-1:])
    return nn.functional.gelu((u @ W_1 + b_1) @ W_2 + b_2) + z_prime


# %% 3 wrong: GELU after both
def equation_3(z_prime, W_1, b_1, W_2, b_2):
    u = nn.functional.layer_norm(z_prime, z_prime.shape[-1:])
    h = nn.functional.gelu(u @ W_1 + b_1)
    return nn.functional.gelu(h @ W_2 + b_2) + z_prime


# %% 3 wrong: the residual is the normalised token
def equation_3(z_prime, W_1, b_1, W_2, b_2):
    u = nn.functional.layer_norm(z_prime, z_prime.shape[-1:])
    return nn.functional.gelu(u @ W_1 + b_1) @ W_2 + b_2 + u


# %% 3 wrong: no residual
def equation_3(z_prime, W_1, b_1, W_2, b_2):
    u = nn.functional.layer_norm(z_prime, z_prime.shape[-1:])
    return nn.functional.gelu(u @ W_1 + b_1) @ W_2 + b_2


# %% 3 wrong: no GELU
def equation_3(z_prime, W_1, b_1, W_2, b_2):
    u = nn.functional.layer_norm(z_prime, z_prime.shape[-1:])
    return (u @ W_1 + b_1) @ W_2 + b_2 + z_prime


# %% 3 wrong: ReLU
def equation_3(z_prime, W_1, b_1, W_2, b_2):
    u = nn.functional.layer_norm(z_prime, z_prime.shape[-1:])
    return torch.relu(u @ W_1 + b_1) @ W_2 + b_2 + z_prime


# %% 3 wrong: no LN
def equation_3(z_prime, W_1, b_1, W_2, b_2):
    return nn.functional.gelu(z_prime @ W_1 + b_1) @ W_2 + b_2 + z_prime


# %% 3 wrong: LN at the end (post-norm)
def equation_3(z_prime, W_1, b_1, W_2, b_2):
    z = nn.functional.gelu(z_prime @ W_1 + b_1) @ W_2 + b_2 + z_prime
    return nn.functional.layer_norm(z, z.shape[-1:])


# %% 3 wrong: it changes what it was given
def equation_3(z_prime, W_1, b_1, W_2, b_2):
    u = nn.functional.layer_norm(z_prime, z_prime.shape[-1:])
    z_prime += nn.functional.gelu(u @ W_1 + b_1) @ W_2 + b_2
    return z_prime


# %% 4 right: with a diagonal matrix
def absorb(scale, shift, W_1, b_1):
    return torch.diag(scale) @ W_1, b_1 + shift @ W_1


# %% 4 right: by sending numbers through
def absorb(scale, shift, W_1, b_1):
    def before(u):
        return (u * scale + shift) @ W_1 + b_1

    b = before(torch.zeros(len(scale)))
    return before(torch.eye(len(scale))) - b, b


# %% 4 right: row by row
def absorb(scale, shift, W_1, b_1):
    W, b = torch.zeros_like(W_1), b_1.clone()
    for d in range(len(scale)):
        W[d] = scale[d] * W_1[d]
        b += shift[d] * W_1[d]
    return W, b


# %% 4 right: NumPy, and a list
import numpy as np


def absorb(scale, shift, W_1, b_1):
    scale, shift, W_1, b_1 = (np.asarray(part) for part in (scale, shift, W_1, b_1))
    return [np.einsum("d,df->df", scale, W_1), np.dot(shift, W_1) + b_1]


# %% 4 wrong: what stood there
def absorb(scale, shift, W_1, b_1):
    return W_1, b_1


# %% 4 wrong: the columns are scaled
def absorb(scale, shift, W_1, b_1):
    return W_1 * scale, shift @ W_1 + b_1


# %% 4 wrong: the shift does not pass through the matrix
def absorb(scale, shift, W_1, b_1):
    return scale[:, None] * W_1, b_1 + shift.sum()


# %% 4 wrong: the shift is forgotten
def absorb(scale, shift, W_1, b_1):
    return scale[:, None] * W_1, b_1


# %% 4 wrong: the old bias is forgotten
def absorb(scale, shift, W_1, b_1):
    return scale[:, None] * W_1, shift @ W_1


# %% 4 wrong: the shift is scaled as well
def absorb(scale, shift, W_1, b_1):
    W = scale[:, None] * W_1
    return W, shift @ W + b_1


# %% 4 wrong: divided by the scale
def absorb(scale, shift, W_1, b_1):
    return W_1 / scale[:, None], shift @ W_1 + b_1


# %% 4 wrong: one scale for all
def absorb(scale, shift, W_1, b_1):
    return scale.mean() * W_1, shift @ W_1 + b_1


# %% 4 wrong: transposed, as nn.Linear stores it
def absorb(scale, shift, W_1, b_1):
    return (scale[:, None] * W_1).T, shift @ W_1 + b_1


# %% 4 wrong: only the matrix
def absorb(scale, shift, W_1, b_1):
    return scale[:, None] * W_1


# %% 4 wrong: a function
def absorb(scale, shift, W_1, b_1):
    return lambda u: (u * scale + shift) @ W_1 + b_1
