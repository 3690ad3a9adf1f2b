"""Leaving Vapi, and the dossier of a number."""
