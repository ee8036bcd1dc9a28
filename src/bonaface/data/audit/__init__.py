"""What is wrong with a manifest before anybody trains: leaks, copies, unreadable files, shortcuts."""
