"""Benchmarks of Headrace: what each workload costs, beside a plain loop and a plain Faust agent in the same run."""
