"""The sub-commands of `anypod`, one module each; `speaker.cli` lists them. What they share is in common and output."""
