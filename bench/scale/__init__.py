"""One real node among simulated BGP peers: what each design costs, and how it grows."""
