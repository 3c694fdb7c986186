"""What can be chosen: the schema, its loader, and every YAML."""
