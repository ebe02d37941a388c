"""What goes over the wire: messages, their bytes, and the bytes of users' objects."""
