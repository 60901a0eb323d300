"""Images of a training: their order, how they are varied and mixed, and batches of them."""
