"""Reference accuracies: tables, and how well measures rank them."""
