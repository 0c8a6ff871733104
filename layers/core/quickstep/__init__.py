"""Quickstep: an autoscaler for generative-AI models on Amazon SageMaker real-time endpoints."""

__version__ = "0.1.0"
