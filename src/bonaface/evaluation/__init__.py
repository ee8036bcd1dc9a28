"""From score tables to rates, intervals and reports. Never torch."""
