"""The job server: apps that are deployed, watched and stopped while the service runs."""
