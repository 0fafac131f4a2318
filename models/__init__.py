"""What is sampled and what is built from it: search spaces, policies and child networks. Needs torch alone."""
