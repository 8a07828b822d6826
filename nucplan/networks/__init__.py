"""Networks: encoder, pixel stem, decoder, heads; a network is the sum of these parts."""
