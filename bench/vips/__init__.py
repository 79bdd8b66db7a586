"""Virtual IPs as the speaker sees them: to the rack, back after a restart, and at rest."""
