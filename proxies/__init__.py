"""Training-free measures of freshly initialised networks: any ``nn.Module`` in, numbers out."""
