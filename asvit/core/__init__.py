"""What every kind of run has in common: settings, results, journals, progress, files."""
