"""Documents out of files, installed packages and data sets: text as it is written."""
