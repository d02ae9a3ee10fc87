"""Files that list the images of a dataset, and what they tell of them."""
