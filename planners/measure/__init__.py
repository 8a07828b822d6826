"""What is measured on one image, and how it is pooled over a dataset; `planners.fingerprint` puts it together."""
