"""One folder for each package of the product."""
