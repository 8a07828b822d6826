"""Which files of a folder are the images, and which annotation belongs to each."""
