"""The names of the files in the run folder of a search."""

from asvit._files import write_text

__all__ = ["write_text"]
