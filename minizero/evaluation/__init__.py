"""What a model or an adapter scores on benchmarks: evaluate.py is the story, suites/ the benchmarks."""
