"""What `tune` searches, where it looks next, its trials and their processes."""
