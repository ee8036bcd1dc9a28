"""The REST API and its web page; only the command line imports it."""
