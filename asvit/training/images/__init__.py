"""Training images: sampling, augmentation, mixing and loading."""
