"""One real Kubernetes node on this machine, without Docker, a registry or a cluster.

Its programs are compiled from Go modules and kept in the user's cache folder; it runs in a network namespace of its
own, and its pods in containerd. README.md beside this file says what it has and what it has not.

Needs Linux, root, Python 3.11 with nothing installed but pip, Go 1.26 or newer the first time, and Debian's packages,
which it installs where apt is: iproute2, nftables, openssl, containerd, runc, containernetworking-plugins, buildah,
gcc, mmdebstrap.
"""
