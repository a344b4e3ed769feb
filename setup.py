"""Says which packages there are; pyproject.toml says all else."""

from setuptools import find_packages, setup

setup(
  packages=[*find_packages(include=['mvp_jax*']), 'mvp_jax.configs'],
  package_dir={'mvp_jax.configs': 'configs'},  # so that an installation has them, too
)
