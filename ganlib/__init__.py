"""A small library for training, sampling and measuring GANs."""

__version__ = "0.2.0"
