"""`trio-mp unit`: files by which systemd, Docker Compose, Kubernetes and Slurm run a node."""
