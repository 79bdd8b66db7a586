"""Virtual IPs measured in the lab: how load is shared, what breaks, how long a failure lasts."""
