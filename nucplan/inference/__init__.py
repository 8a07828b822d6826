"""From an image to nuclei on disk: tiles, averaged probability maps, instances, output files."""
