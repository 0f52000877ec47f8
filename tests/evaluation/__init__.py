"""Evaluation: suites, judges, sampling, statistics, comparison."""
