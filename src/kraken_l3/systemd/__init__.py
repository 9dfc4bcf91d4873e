"""systemd: the notification socket and the user service."""
