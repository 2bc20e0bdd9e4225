"""The drop directory's names, manifests and order."""
