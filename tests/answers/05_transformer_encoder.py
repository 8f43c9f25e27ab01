# %% 1 right: the table of the notebook, with F
def stack_parameters(D, F, L):
    return L * (4 * D**2 + 2 * D * F + 9 * D + F)


# %% 1 right: counted by PyTorch
def stack_parameters(D, F, L):
    config = toy_config(embedding_dim=D, mlp_size=F, depth=L, num_heads=1)
    with torch.device("meta"):
        stack = TransformerEncoder(config)
    return sum(p.numel() for p in stack.parameters())


# %% 1 right: in a loop over shapes
def stack_parameters(D, F, L):
    shapes = [(D,)] * 4 + [(D, D)] * 4 + [(D,)] * 4 + [(D, F), (F,), (F, D), (D,)]
    count = 0
    for _ in range(L):
        for shape in shapes:
            count += torch.Size(shape).numel()
    return count


# %% 1 wrong: the formula for F = 4D
def stack_parameters(D, F, L):
    return L * (12 * D**2 + 13 * D)


# %% 1 wrong: without biases
def stack_parameters(D, F, L):
    return L * (4 * D * D + 2 * D * F)


# %% 1 wrong: one LayerNorm instead of two
def stack_parameters(D, F, L):
    return L * (2 * D + 4 * (D * D + D) + (D * F + F) + (F * D + D))


# %% 1 wrong: a single block
def stack_parameters(D, F, L):
    return 4 * D + 4 * (D * D + D) + (D * F + F) + (F * D + D)


# %% 1 wrong: an LN after the last block
def stack_parameters(D, F, L):
    return L * (4 * D + 4 * (D * D + D) + (D * F + F) + (F * D + D)) + 2 * D


# %% 1 wrong: q, k and v alone
def stack_parameters(D, F, L):
    return L * (4 * D + 3 * (D * D + D) + (D * F + F) + (F * D + D))


# %% 1 wrong: LN forgotten
def stack_parameters(D, F, L):
    return L * (4 * (D * D + D) + (D * F + F) + (F * D + D))


# %% 1 wrong: a number
stack_parameters = 8_399_872

# %% 2 right: read off
costly = [1, 2]

# %% 2 right: a loop, as a set
costly = set()
for number in range(1, 7):
    if accuracy_without(number) < accuracy_without(0) - 0.10:
        costly.add(number)

# %% 2 right: a tensor, from the worst on
losses = torch.tensor([accuracy_without(0) - accuracy_without(n) for n in range(1, 7)])
costly = torch.nonzero(losses > 0.1).flatten() + 1

# %% 2 right: a tuple in another order
costly = (2, 1)

# %% 2 wrong: counted from 0
costly = [0, 1]

# %% 2 wrong: the worst alone
costly = [1]

# %% 2 wrong: a number alone
costly = 1

# %% 2 wrong: ten per cent, whatever they are
costly = [1, 2, 3]

# %% 2 wrong: the last ones
costly = [5, 6]

# %% 2 wrong: all
costly = range(1, 7)

# %% 2 wrong: none
costly = []

# %% 2 wrong: True and False
costly = [accuracy_without(n) < 0.8 for n in range(1, 7)]

# %% 2 wrong: words
costly = "the first two"


# %% 3 right: the shortest loop
class Stack(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.layers = nn.ModuleList()
        for _ in range(config.depth):
            self.layers.append(TransformerEncoderBlock(config))

    def forward(self, z):
        for layer in self.layers:
            z = layer(z)
        return z


# %% 3 right: a Sequential
class Stack(nn.Sequential):
    def __init__(self, config):
        super().__init__(
            *(TransformerEncoderBlock(config) for _ in range(config.depth))
        )


# %% 3 right: a function that gives a module
def Stack(config):
    return nn.Sequential(
        *[TransformerEncoderBlock(config) for _ in range(config.depth)]
    )


# %% 3 right: two lists of halves, equations written out
class Stack(nn.Module):
    def __init__(self, config):
        super().__init__()
        L = range(config.depth)
        self.msa = nn.ModuleList(MultiheadSelfAttentionBlock(config) for _ in L)
        self.mlp = nn.ModuleList(MultilayerPerceptronBlock(config) for _ in L)

    def forward(self, z):
        for first, second in zip(self.msa, self.mlp, strict=True):
            z_prime = first.msa(first.layer_norm(z)) + z
            z = second.mlp(second.layer_norm(z_prime)) + z_prime
        return z


# %% 3 right: the class of the notebook
Stack = TransformerEncoder


# %% 3 wrong: one mistake left, the blocks are one
class Stack(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.blocks = nn.ModuleList([TransformerEncoderBlock(config)] * config.depth)

    def forward(self, z):
        for block in self.blocks:
            z = block(z)
        return z


# %% 3 wrong: one mistake left, the residual takes LN of z
class Stack(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.blocks = nn.ModuleList(
            TransformerEncoderBlock(config) for _ in range(config.depth)
        )

    def forward(self, z):
        for block in self.blocks:
            z = block.msa_block.layer_norm(z)
            z = block.msa_block.msa(z) + z
            z = block.mlp_block(z)
        return z


# %% 3 wrong: as it was
class Stack(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.blocks = nn.ModuleList([TransformerEncoderBlock(config)] * config.depth)

    def forward(self, z):
        for block in self.blocks:
            z = block.msa_block.layer_norm(z)
            z = block.msa_block.msa(z) + z
            z = block.mlp_block(z)
        return z


# %% 3 wrong: a plain list
class Stack(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.blocks = [TransformerEncoderBlock(config) for _ in range(config.depth)]

    def forward(self, z):
        for block in self.blocks:
            z = block(z)
        return z


# %% 3 wrong: the residual is added twice
class Stack(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.blocks = nn.ModuleList(
            TransformerEncoderBlock(config) for _ in range(config.depth)
        )

    def forward(self, z):
        for block in self.blocks:
            z = block.msa_block(z) + z
            z = block.mlp_block(z)
        return z


# %% 3 wrong: the residual is gone
class Stack(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.blocks = nn.ModuleList(
            TransformerEncoderBlock(config) for _ in range(config.depth)
        )

    def forward(self, z):
        for block in self.blocks:
            z = block.msa_block.msa(block.msa_block.layer_norm(z))
            z = block.mlp_block(z)
        return z


# %% 3 wrong: an LN at the end
class Stack(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.blocks = nn.ModuleList(
            TransformerEncoderBlock(config) for _ in range(config.depth)
        )
        self.layer_norm = nn.LayerNorm(config.embedding_dim)

    def forward(self, z):
        for block in self.blocks:
            z = block(z)
        return self.layer_norm(z)


# %% 3 wrong: every block reads what entered the first
class Stack(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.blocks = nn.ModuleList(
            TransformerEncoderBlock(config) for _ in range(config.depth)
        )

    def forward(self, z):
        for block in self.blocks:
            out = block(z)
        return out


# %% 3 wrong: the last block is left out
class Stack(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.blocks = nn.ModuleList(
            TransformerEncoderBlock(config) for _ in range(config.depth)
        )

    def forward(self, z):
        for block in self.blocks[:-1]:
            z = block(z)
        return z


# %% 3 wrong: none of its blocks is called
class Stack(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.blocks = nn.ModuleList(
            TransformerEncoderBlock(config) for _ in range(config.depth)
        )

    def forward(self, z):
        return z


# %% 3 wrong: nothing is returned
class Stack(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.blocks = nn.ModuleList(
            TransformerEncoderBlock(config) for _ in range(config.depth)
        )

    def forward(self, z):
        for block in self.blocks:
            z = block(z)


# %% 3 wrong: a stack and not its class
Stack = TransformerEncoder(toy_config())


# %% 4 right: the residual of the MSA block itself
def parallel(block, z):
    u = block.msa_block.layer_norm(z)
    return block.msa_block(z) + block.mlp_block.mlp(u)


# %% 4 right: a list of updates
def parallel(block, z):
    u = block.msa_block.layer_norm(z)
    updates = [part(u) for part in (block.msa_block.msa, block.mlp_block.mlp)]
    return sum(updates, start=z)


# %% 4 right: LN by hand, and one image at a time
def parallel(block, z):
    norm = block.msa_block.layer_norm
    deviation = (z.var(dim=-1, unbiased=False, keepdim=True) + norm.eps).sqrt()
    u = (z - z.mean(dim=-1, keepdim=True)) / deviation * norm.weight + norm.bias
    rows = [block.msa_block.msa(x[None]) + block.mlp_block.mlp(x[None]) for x in u]
    return torch.cat(rows) + z


# %% 4 wrong: one half after the other, as in ViT
def parallel(block, z):
    return block(z)


# %% 4 wrong: the residual is added twice
def parallel(block, z):
    return block.msa_block(z) + block.mlp_block(z)


# %% 4 wrong: the residual is dropped
def parallel(block, z):
    u = block.msa_block.layer_norm(z)
    return block.msa_block.msa(u) + block.mlp_block.mlp(u)


# %% 4 wrong: the LN of the MLP block
def parallel(block, z):
    u = block.mlp_block.layer_norm(z)
    return z + block.msa_block.msa(u) + block.mlp_block.mlp(u)


# %% 4 wrong: each half with an LN of its own
def parallel(block, z):
    first, second = block.msa_block, block.mlp_block
    return z + first.msa(first.layer_norm(z)) + second.mlp(second.layer_norm(z))


# %% 4 wrong: the residual is u
def parallel(block, z):
    u = block.msa_block.layer_norm(z)
    return u + block.msa_block.msa(u) + block.mlp_block.mlp(u)


# %% 4 wrong: no LN
def parallel(block, z):
    return z + block.msa_block.msa(z) + block.mlp_block.mlp(z)


# %% 4 wrong: the MLP sees what MSA found
def parallel(block, z):
    msa = block.msa_block.msa(block.msa_block.layer_norm(z))
    return z + block.mlp_block.mlp(msa)


# %% 4 wrong: an LN too many
def parallel(block, z):
    u = block.msa_block.layer_norm(z)
    z_prime = z + block.msa_block.msa(u)
    return z_prime + block.mlp_block.mlp(block.msa_block.layer_norm(z_prime))
