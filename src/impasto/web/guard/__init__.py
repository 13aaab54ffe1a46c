"""What keeps strangers, floods and slow clients out."""
