"""The commands: one small module each, argparse and no logic; heavy imports stay inside ``main``."""
