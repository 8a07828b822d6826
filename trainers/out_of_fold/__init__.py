"""What networks say of images that they have not seen: the folds, their maps and nuclei, and how these score."""
