"""This process among the others: who they are, what they agree on, how all leave."""
