"""The ensemble that a run keeps says what the run has said of its held-out trials."""

import numpy as np

from mvp_jax.data.trials import PreparedCorpus
from mvp_jax.inference.model import load


def prepared(run):
  (info,) = (run.study.parents[1] / 'prepared').rglob('dataset_info.json')
  return PreparedCorpus(info.parent)


def test_held_out_trials_are_predicted_as_by_the_run(run, tmp_path):
  corpus = prepared(run)
  said = {
    (int(row['subject']), int(row['trial']), int(row['seed']), row['target']): row
    for row in run.predictions
    if row['model'] == 'fusion'
  }
  compared = 0
  for fold in (0, 1):
    model = load(run.workdir, 'fusion', fold)
    assert [member.seed for member in model.members] == [0, 1]
    found = model.predict(corpus, corpus.trials, tmp_path)
    for trial, scores in zip(corpus.trials, found, strict=True):
      for member, score in zip(model.members, scores, strict=True):
        for target, value in zip(model.target.ratings, score, strict=True):
          row = said[trial.subject, trial.trial, member.seed, target]
          if int(row['fold']) == fold:
            np.testing.assert_allclose(value, float(row['score']), atol=1e-5)
            compared += 1
  assert compared == len(said) == 4 * 3 * 2 * 2
