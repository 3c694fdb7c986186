"""What a person reads about data and results."""
