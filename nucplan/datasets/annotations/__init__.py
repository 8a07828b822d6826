"""How nuclei are written down: label maps, layers, outlines, tables, arrays; read without trusting the file."""
