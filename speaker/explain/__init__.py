"""Why an address, a prefix or a pod is reached, or what is missing first: pod, announcement, peers, kernel."""
