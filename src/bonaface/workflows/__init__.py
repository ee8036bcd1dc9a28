"""Jobs that combine data, training, inference and reports, one module each."""
