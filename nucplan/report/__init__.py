"""What a person reads of an experiment: tables and pictures, from counts and label maps."""
