"""skipsearch: neural architecture search over skip-connection designs."""
