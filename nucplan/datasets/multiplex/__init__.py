"""Images of many planes: their names, order and intensities."""
