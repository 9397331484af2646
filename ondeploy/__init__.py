"""Zero-downtime blue-green releases for Docker Compose apps."""
