"""From sqlglot's tree to Headrace's syntax: the only code that knows how sqlglot arranges its nodes.

Every argument of every node is consumed or refused; nothing that a user wrote is dropped.
"""
