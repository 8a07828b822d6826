"""CellViT (Hörst et al. 2024) and CellViT++ (Hörst et al. 2025): models of published checkpoints, and their decoder."""
