"""What a benchmark was made from and what came out, as hashes; and whether another run of it agrees."""
