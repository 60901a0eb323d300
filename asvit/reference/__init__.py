"""Reference accuracies: tables, and how well measures rank them."""

from asvit.reference.table import REFERENCES, ReferenceTable, Target, load_reference

__all__ = ["REFERENCES", "ReferenceTable", "Target", "load_reference"]
