# %% 1 wrong: the residual is dropped
def equation_3(z_prime, W_1, W_2):
    u = nn.functional.layer_norm(z_prime, z_prime.shape[-1:])
    return nn.functional.gelu(u @ W_1.T) @ W_2.T


# %% 1 wrong: the residual is the normalised token
def equation_3(z_prime, W_1, W_2):
    u = nn.functional.layer_norm(z_prime, z_prime.shape[-1:])
    return nn.functional.gelu(u @ W_1.T) @ W_2.T + u


# %% 1 wrong: LayerNorm comes after the sum (post-norm)
def equation_3(z_prime, W_1, W_2):
    z = nn.functional.gelu(z_prime @ W_1.T) @ W_2.T + z_prime
    return nn.functional.layer_norm(z, z.shape[-1:])


# %% 1 wrong: ReLU in place of GELU
def equation_3(z_prime, W_1, W_2):
    u = nn.functional.layer_norm(z_prime, z_prime.shape[-1:])
    return torch.relu(u @ W_1.T) @ W_2.T + z_prime


# %% 1 wrong: no GELU
def equation_3(z_prime, W_1, W_2):
    u = nn.functional.layer_norm(z_prime, z_prime.shape[-1:])
    return u @ W_1.T @ W_2.T + z_prime


# %% 2 wrong: survivors are not scaled
def drop(h, keep, rate):
    return h * keep


# %% 2 wrong: divided by the share that is dropped
def drop(h, keep, rate):
    return h * keep / rate


# %% 2 wrong: multiplied, as in evaluation by the original dropout paper
def drop(h, keep, rate):
    return h * keep * (1 - rate)


# %% 3 wrong: biases forgotten
def mlp_parameters(D, F, L):
    return 2 * D * F * L


# %% 3 wrong: one matrix only
def mlp_parameters(D, F, L):
    return L * (D * F + F)


# %% 3 wrong: biases counted once, not in every block
def mlp_parameters(D, F, L):
    return 2 * D * F * L + F + D
