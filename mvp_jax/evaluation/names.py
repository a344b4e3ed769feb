"""How models and scores are called and ordered, in this one place."""

MAIN_MODEL = 'fusion'  # what the others are compared with, where it is there

MODEL_NAMES = {
  # Baselines, in the order of tables. The first two come from the class prior.
  'majority': 'majority class',
  'coin': 'class-prior coin',
  'stimulus_mean': 'stimulus mean',
  'subject_mean': 'subject mean',
  'logistic': 'logistic regression',
  'svm': 'SVM',
  'ceiling': 'best possible',
}
REFERENCES = ('majority', 'coin')
BASELINES = (*REFERENCES, 'stimulus_mean', 'subject_mean', 'logistic', 'svm')
BASELINE_NOTES = {
  'majority': 'Majority class: what is more frequent among the training trials of '
  'the fold.',
  'coin': 'Class-prior coin: says high at random with the share of high among those '
  'trials; its scores are exact expectations.',
  'stimulus_mean': 'Stimulus mean: what others thought of the same clip; no face and '
  'no signal.',
  'subject_mean': "Subject mean: the same person's other trials. It takes labels of "
  'the test subject, which no subject-independent model has: a '
  'reference, not a rival.',
  'logistic': 'Logistic regression and SVM: handcrafted features of the signals (and '
  'action units).',
}

METRIC_NAMES = {
  'macro_f1': 'macro-F1',
  'f1': 'F1 of high',
  'weighted_f1': 'weighted F1',
  'balanced_accuracy': 'balanced accuracy',
  'auroc': 'AUROC',
  'mcc': 'MCC',
  'accuracy': 'accuracy',
  'ccc': 'CCC',
  'ece': 'ECE',
  'aurc': 'AURC',
}


def model_name(model: str) -> str:
  """How a model or baseline is called in tables."""
  return MODEL_NAMES.get(model, model)


def in_order(models) -> tuple[list[str], list[str]]:
  """Models with the main one first, and baselines, of some names."""
  trained = sorted(
    (m for m in models if m not in BASELINES), key=lambda model: model != MAIN_MODEL
  )
  return trained, [m for m in BASELINES if m in models]
