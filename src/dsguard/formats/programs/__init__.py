"""Files that readers run, and how data is told from them."""
