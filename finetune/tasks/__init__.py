"""Kinds of tasks: what is read, framed, answered and scored."""
