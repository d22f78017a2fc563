"""Runnable evidence for what odecore claims."""
