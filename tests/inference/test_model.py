"""The ensemble that a run keeps says what the run has said of its held-out trials."""

from tests import running


def test_held_out_trials_are_predicted_as_by_the_run(run, tmp_path):
  data = run.workdir.parent / 'data'
  # People, trials, seeds, ratings.
  assert running.check_kept(run.workdir, data, 'fusion', tmp_path) == 4 * 3 * 2 * 2
