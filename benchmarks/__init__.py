"""Benchmarks of Headrace, Kafka to Kafka: what each costs, next to a plain Faust agent in the same run."""
