"""What an operator writes, from the file to typed values: speaker.toml, cluster.toml, and mistakes in words."""
