"""What authd says over HTTP: thin resources without decisions, and the pages that people see."""
