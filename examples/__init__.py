"""Examples that run on data that comes with scikit-learn."""
