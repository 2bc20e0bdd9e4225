"""Names, manifests and the order of what is dropped."""
