"""Encoder: parameters counted, a block left out, a stack mended, halves in parallel."""

import torch
from torch import Tensor, nn

from going_modular.config import ViTConfig
from going_modular.teaching.exercises import Exercise
from going_modular.teaching.toy import toy_config
from going_modular.transformer_encoder import TransformerEncoderBlock

__all__ = ["EXERCISES"]


# 05.1


def stack_parameters(D: int, F: int, L: int) -> int:
    return L * (4 * D + 4 * (D * D + D) + 2 * D * F + F + D)


# 05.2


def read_numbers(answer):
    """Blocks in any order and collection, or a single one, as a sorted list."""
    if isinstance(answer, Tensor):
        answer = answer.tolist()
    numbers = answer if isinstance(answer, list | tuple | set | range) else [answer]
    if any(isinstance(number, bool) for number in numbers):
        return answer
    return sorted({int(n) if float(n).is_integer() else float(n) for n in numbers})


# 05.3


def stack_configs() -> list[tuple]:
    return [
        (toy_config(depth=3),),
        (toy_config(depth=2, embedding_dim=8, num_heads=2, mlp_size=20),),
        (toy_config(depth=1, embedding_dim=6, num_heads=3, mlp_size=10),),
    ]


def count_parameters(stack):
    """Of a module; anything else stays what it is."""
    if not isinstance(stack, nn.Module):
        return stack
    return sum(parameter.numel() for parameter in stack.parameters())


def of_one_block(config: ViTConfig) -> int:
    return stack_parameters(config.embedding_dim, config.mlp_size, 1)


def tokens(config: ViTConfig) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return 3 * torch.randn(2, 5, config.embedding_dim, generator=generator) + 1


def randomised(module: nn.Module) -> nn.Module:
    """Gains and biases too, so that no two LayerNorms are alike."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            numbers = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(0.3 * numbers)
    return module.eval()


def runs_its_blocks(make, config: ViTConfig) -> bool:
    """Whether a stack computes Equations 2 and 3 with its own halves, in turn."""
    stack, z = randomised(make(config)), tokens(config)
    computed = stack(z)
    parts = list(stack.modules())
    first = [m for m in parts if hasattr(m, "layer_norm") and hasattr(m, "msa")]
    second = [m for m in parts if hasattr(m, "layer_norm") and hasattr(m, "mlp")]
    for msa_half, mlp_half in zip(first, second, strict=True):
        z = mlp_half(msa_half(z))
    return torch.allclose(computed, z, atol=1e-4)


# 05.4


def parallel(block, z: Tensor) -> Tensor:
    u = block.msa_block.layer_norm(z)
    return z + block.msa_block.msa(u) + block.mlp_block.mlp(u)


def parallel_cases() -> list[tuple]:
    configs = [config for (config,) in stack_configs()]
    blocks = [randomised(TransformerEncoderBlock(c)) for c in configs]
    pairs = zip(blocks, configs, strict=True)
    return [(block.requires_grad_(False), tokens(c)) for block, c in pairs]


def silent(block: nn.Module) -> nn.Module:
    """The block when both of its branches give nothing."""
    with torch.no_grad():
        for last in (block.msa_block.msa.out, block.mlp_block.mlp.linear_2):
            last.weight.zero_()
            last.bias.zero_()
    return block


EXERCISES = {
    "1": Exercise(
        answer=stack_parameters,
        cases=lambda: [(1024, 2048, 8), (44, 176, 7), (192, 100, 1), (30, 60, 5)],
        mistakes={
            "that holds only where F is 4D": (
                lambda D, F, L: L * (12 * D * D + 13 * D)
            ),
            "a stack has L blocks, and that is one": (
                lambda D, F, L: stack_parameters(D, F, 1)
            ),
            "linear layers have biases, too": (
                lambda D, F, L: L * (4 * D + 4 * D * D + 2 * D * F)
            ),
            "linear layers have biases, and LN has gains and biases": (
                lambda D, F, L: L * (4 * D * D + 2 * D * F)
            ),
            "the LayerNorms have gains and biases, for each of the D numbers": (
                lambda D, F, L: stack_parameters(D, F, L) - 4 * D * L
            ),
            "a block has two LayerNorms, each with gains and biases": (
                lambda D, F, L: stack_parameters(D, F, L) - 2 * D * L
            ),
            "the LN after the last block belongs to Equation 4, not to the stack": (
                lambda D, F, L: stack_parameters(D, F, L) + 2 * D
            ),
            "the matrix U_msa is missing: joined heads are projected as well": (
                lambda D, F, L: stack_parameters(D, F, L) - (D * D + D) * L
            ),
            "the MLP has two layers, one there and one back": (
                lambda D, F, L: stack_parameters(D, F, L) - (D * F + D) * L
            ),
        },
        hints=(
            "Count one block: two LN, MSA and the MLP. Which of them have biases?",
            "Two LN have 4D and MSA has 4(D² + D). Only the MLP depends on F.",
            "The MLP maps D to F and back: D F + F, then F D + D.",
        ),
        tolerance=0,
    ),
    "2": Exercise(
        answer=[1, 2],
        read=read_numbers,
        laws=(
            (
                "answer with the numbers of blocks, from 1 to 6",
                lambda numbers: set(numbers) <= set(range(1, 7)),
            ),
            (
                "at least one of them costs more than ten points: print all six",
                lambda numbers: len(numbers) > 0,
            ),
            (
                "one of yours costs less than ten points",
                lambda numbers: set(numbers) <= {1, 2},
            ),
            (
                "one is missing: compare each block with accuracy_without(0)",
                lambda numbers: set(numbers) >= {1, 2},
            ),
        ),
        hints=(
            "Print accuracy_without(number) for 0 to 6.",
            "Ten points are 0.1. From accuracy_without(0) subtract each of the others.",
        ),
    ),
    "3": Exercise(
        answer=lambda config: config.depth * of_one_block(config),
        cases=stack_configs,
        read=count_parameters,
        laws=(
            (
                "Stack(config) should give an nn.Module",
                lambda make, config: isinstance(make(config), nn.Module),
            ),
            (
                "an optimiser would find no parameters in it: PyTorch does not look "
                "into a plain list",
                lambda make, config: count_parameters(make(config)) > 0,
            ),
            (
                "all of its blocks are one and the same: they share one set of weights",
                lambda make, config: (
                    config.depth == 1
                    or count_parameters(make(config)) != of_one_block(config)
                ),
            ),
            (
                "it should have the parameters of L blocks, no more and no fewer",
                lambda make, config: (
                    count_parameters(make(config))
                    == config.depth * of_one_block(config)
                ),
            ),
            (
                "it should map (B, T, D) tokens to tokens of the same shape",
                lambda make, config: (
                    make(config)(tokens(config)).shape == tokens(config).shape
                ),
            ),
            (
                "each half should see what the one before it gave, and its residual "
                "should add the tokens as they came in, untouched",
                runs_its_blocks,
            ),
        ),
        hints=(
            "How many different blocks are there in [block] * 3? Look at `id(...)`.",
            "In the loop, which z does the residual add: the one that came in?",
            "Make one block for each layer, and call LN inside the call of MSA.",
        ),
        tolerance=0,
    ),
    "4": Exercise(
        answer=parallel,
        cases=parallel_cases,
        laws=(
            (
                "where MSA and MLP give nothing, z should come through unchanged, once",
                lambda f, block, z: torch.allclose(f(silent(block), z), z, atol=1e-5),
            ),
        ),
        mistakes={
            "that is the block as it was, one half after the other": (
                lambda block, z: block.mlp_block(block.msa_block(z))
            ),
            "both halves should get the same u, the LN of msa_block": (
                lambda block, z: (
                    z
                    + block.msa_block.msa(block.msa_block.layer_norm(z))
                    + block.mlp_block.mlp(block.mlp_block.layer_norm(z))
                )
            ),
            "take the LN of msa_block, not that of mlp_block": (
                lambda block, z: (
                    z
                    + block.msa_block.msa(block.mlp_block.layer_norm(z))
                    + block.mlp_block.mlp(block.mlp_block.layer_norm(z))
                )
            ),
            "both halves should get the normalised tokens, not z": (
                lambda block, z: z + block.msa_block.msa(z) + block.mlp_block.mlp(z)
            ),
            "the MLP should see u, not what MSA made of it": (
                lambda block, z: (
                    z
                    + block.mlp_block.mlp(
                        block.msa_block.msa(block.msa_block.layer_norm(z))
                    )
                )
            ),
            "the branch with MSA is missing": (
                lambda block, z: z + block.mlp_block.mlp(block.msa_block.layer_norm(z))
            ),
        },
        hints=(
            "block.msa_block has layer_norm and msa, block.mlp_block has mlp.",
            "Compute u once, give it to both, and add three things.",
        ),
        tolerance=1e-4,
    ),
}
