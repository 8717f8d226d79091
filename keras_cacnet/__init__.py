"""CaC-Net semantic segmentation for Keras 3."""
