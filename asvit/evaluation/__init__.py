"""Tests of classifiers on labelled pictures: settings, measures and results."""
