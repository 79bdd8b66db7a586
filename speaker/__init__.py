"""The speaker: announces this node's addresses over BGP and installs what it learns in the kernel."""
