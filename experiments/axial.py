"""Attention along rows, then along columns: axial attention, as in appendix D.6.

A patch attends to those of its own row, and then to those of its own column, so the
work grows with N sqrt(N) instead of N^2. There is no class token, because it lies in no
row; the head reads the average.
"""

from dataclasses import replace

from torch import Tensor, nn

from experiments.readout import AveragingViT
from going_modular.config import ViTConfig
from going_modular.transformer_encoder import TransformerEncoderBlock
from going_modular.vit import make_head

__all__ = ["AxialBlock", "AxialViT"]


class AxialBlock(nn.Module):
    """A block of Equations 2 and 3 within each row, then one within each column.

    Source: ViT paper, appendix D.6; Ho et al., arXiv 1912.12180.
    """

    def __init__(self, config: ViTConfig):
        super().__init__()
        self.grid_shape = config.grid_shape
        self.row_block = TransformerEncoderBlock(config)
        self.column_block = TransformerEncoderBlock(config)

    def forward(self, z: Tensor) -> Tensor:
        """Map (B, N, D) tokens, row by row, to (B, N, D)."""
        rows, columns = self.grid_shape
        grid = z.unflatten(1, (rows, columns))  # (B, rows, columns, D)
        each_row = grid.flatten(0, 1)  # (B rows, columns, D)
        grid = self.row_block(each_row).unflatten(
            0, (-1, rows)
        )  # (B, rows, columns, D)
        each_column = grid.transpose(1, 2).flatten(0, 1)  # (B columns, rows, D)
        grid = self.column_block(each_column).unflatten(0, (-1, columns))
        return grid.transpose(1, 2).flatten(1, 2)  # (B, N, D)


class AxialViT(AveragingViT):
    """A Vision Transformer of axial blocks; each has two MLPs and two attentions."""

    def __init__(self, config: ViTConfig):
        super().__init__(replace(config, depth=1))
        self.config = config
        blocks = [AxialBlock(config) for _ in range(config.depth)]
        self.encoder = nn.Sequential(*blocks)
        self.head = make_head(config)
