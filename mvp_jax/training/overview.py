"""stub"""

from clu import parameter_overview


def parameter_table(params):
  return parameter_overview.get_parameter_overview(params, include_stats=False)
