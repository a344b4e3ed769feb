"""Overview of a model's parameters, shown at the start of a run."""

from clu import parameter_overview


def parameter_table(params):
  """Every array with its shape and its number of parameters, and their total.

  Args:
    params: nested dict of arrays, or of their shapes and dtypes.

  Returns:
    A table as text.
  """
  return parameter_overview.get_parameter_overview(params, include_stats=False)
