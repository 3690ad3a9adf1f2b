"""Wiring of the platform; re-exports the Celery application, which ``shared_task`` looks for."""

from voiceplatform.celery import app as celery_app

__all__ = ["celery_app"]
