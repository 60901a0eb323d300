"""Reference accuracies: tables, and how well measures rank them."""

from asvit.reference.loading import REFERENCES, load_reference
from asvit.reference.table import ReferenceTable, Target

__all__ = ["REFERENCES", "ReferenceTable", "Target", "load_reference"]
