"""Export of networks to other formats, each copy verified against the original."""
