"""One small adapter per dataset: a folder on disk to rows of a manifest."""
