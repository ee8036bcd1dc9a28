"""The REST API and its web page: a door that nobody imports but the command line."""
