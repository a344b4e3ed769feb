"""Runs the job of a config file: `mvp_jax/launch.py`, from a clone."""

import sys

from mvp_jax.launch import main

if __name__ == '__main__':
  main(sys.argv[1:])
