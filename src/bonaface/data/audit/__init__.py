"""Find faults of a manifest before training: leaks, copies, unreadable files, shortcuts."""
