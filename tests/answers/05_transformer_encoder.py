# %% 1 wrong: the second residual adds the block's input instead of z'
def stack(blocks, z):
    for block in blocks:
        first, second = block.msa_block, block.mlp_block
        z_prime = first.msa(first.layer_norm(z)) + z
        z = second.mlp(second.layer_norm(z_prime)) + z
    return z


# %% 1 wrong: the residuals are dropped
def stack(blocks, z):
    for block in blocks:
        first, second = block.msa_block, block.mlp_block
        z_prime = first.msa(first.layer_norm(z))
        z = second.mlp(second.layer_norm(z_prime))
    return z


# %% 1 wrong: the residual adds the normalised tokens
def stack(blocks, z):
    for block in blocks:
        first, second = block.msa_block, block.mlp_block
        z = first.layer_norm(z)
        z_prime = first.msa(z) + z
        z = second.mlp(second.layer_norm(z_prime)) + z_prime
    return z


# %% 1 wrong: the two LayerNorms are swapped
def stack(blocks, z):
    for block in blocks:
        first, second = block.msa_block, block.mlp_block
        z_prime = first.msa(second.layer_norm(z)) + z
        z = second.mlp(first.layer_norm(z_prime)) + z_prime
    return z


# %% 1 wrong: every block reads z_0
def stack(blocks, z):
    for block in blocks:
        first, second = block.msa_block, block.mlp_block
        z_prime = first.msa(first.layer_norm(z)) + z
        out = second.mlp(second.layer_norm(z_prime)) + z_prime
    return out


# %% 2 wrong: the formula for F = 4D
def block_parameters(D, F):
    return 12 * D**2 + 13 * D


# %% 2 wrong: without biases
def block_parameters(D, F):
    return 2 * 2 * D + 4 * D * D + 2 * D * F


# %% 2 wrong: one LayerNorm instead of two
def block_parameters(D, F):
    return 2 * D + 4 * (D * D + D) + (D * F + F) + (F * D + D)


# %% 3 wrong: one half after the other, as in ViT
def parallel(block, z):
    u = block.msa_block.layer_norm(z)
    z_prime = z + block.msa_block.msa(u)
    return z_prime + block.mlp_block.mlp(block.msa_block.layer_norm(z_prime))


# %% 3 wrong: the residual is added twice
def parallel(block, z):
    return block.msa_block(z) + block.mlp_block(z)


# %% 3 wrong: the residual is dropped
def parallel(block, z):
    u = block.msa_block.layer_norm(z)
    return block.msa_block.msa(u) + block.mlp_block.mlp(u)


# %% 3 wrong: the LN of the MLP block
def parallel(block, z):
    u = block.mlp_block.layer_norm(z)
    return z + block.msa_block.msa(u) + block.mlp_block.mlp(u)
