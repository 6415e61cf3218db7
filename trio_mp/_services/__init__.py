"""What is built on ports and peers: spawning, calls, membership, the database, logs."""
