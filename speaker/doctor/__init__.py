"""`anypod doctor`: looks at what a node needs, and says what is missing and how to mend it."""
