"""nucplan: self-configuring instance segmentation and classification of nuclei."""

__version__ = "0.1.0"
