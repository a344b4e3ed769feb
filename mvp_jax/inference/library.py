"""Trained models for Python programs: `mvp_jax.load`."""

from pathlib import Path

from mvp_jax.errors import InputError
from mvp_jax.inference import predict, result
from mvp_jax.inference.model import load as load_ensemble
from mvp_jax.inference.stream import Stream


class Model:
  """All models of a run, as one ensemble. See `load`.

  Attributes:
    name: which of the run's models, such as 'fusion'.
    reads: names of the modalities that it reads.
    ratings: names of what it predicts.
    unit: what a prediction is.
    seconds: the length of a window.
    channels: names of the signals' channels that it reads, () if none.
    synthetic: whether it was trained on made-up people.
  """

  def __init__(self, ensemble):
    self._ensemble = ensemble
    self.name, self.reads = ensemble.name, tuple(ensemble.modalities)
    self.ratings = tuple(ensemble.target.ratings)
    self.unit = result.unit(ensemble.target)
    self.seconds = ensemble.seconds
    streams = {x for own in ensemble.modalities.values() for x in own.streams}
    signals = ensemble.metadata['streams'].get('signals', {})
    self.channels = tuple(signals.get('channels') or ()) if 'signals' in streams else ()
    self.synthetic = ensemble.folder.synthetic

  def __repr__(self):
    made_up = f', {result.SYNTHETIC}' if self.synthetic else ''
    return (
      f'<{self.name} of {len(self._ensemble.members)} models, reads '
      f'{"+".join(self.reads)}: {", ".join(self.ratings)} ({self.unit}){made_up}>'
    )

  def predict(self, video=None, *, hop=None, **given):
    """Predicts one recording.

    Args:
      video: path of a video; None: there are only signals.
      hop: seconds from one window to the next, where the recording is longer than one;
        None = half a window.
      **given: what else belongs to it, named as the columns of a manifest
        (docs/recordings.md): signals='clip.csv', rate=128, eda='EDA', eda_unit='uS',
        audio=..., duration=..., video_onset=..., signals_onset=...

    Returns:
      Prediction: `frames` and `windows`, pandas tables of estimates and their spread
      over models, in `unit`; `result`, a dict with value, confidence and notes.

    Raises:
      InputError: a file cannot be read, shows no face, or lacks what the model needs.
    """
    videos = [] if video is None else [video]
    (found,) = self.predictions(videos, hop=hop, **given)
    if found.problem:
      raise InputError(found.problem)
    return found

  def stream(self, *, hop=None, sources=None, unit=None, pixel_aspect=1.0):
    """Begins to predict what is being recorded: a Stream.

    `stream.frame(time, image)`, `stream.signals(times, eda=...)`,
    `stream.audio(time, samples, rate)` and `stream.action_units(time, row)` take what
    comes and return the estimates that are due, the same as `predict` gives of a file
    at the same windows, `stream.latency` seconds later; `stream.finish()` returns the
    last ones. Memory does not grow.

    Args:
      hop: seconds from one window to the next; None = half a window, and of ratings in
        time a whole one.
      sources: what will come: 'video', 'audio', 'action_units' and names of channels;
        None = all that the model reads. One that stalls for ten seconds is not waited
        for.
      unit: {channel: unit}, where it is not that of a manifest without `eda_unit`.
      pixel_aspect: width / height of a pixel of the frames.

    Raises:
      InputError: the model cannot do without a source, or reads what a stream does not
        take.
    """
    return Stream(
      self._ensemble, hop=hop, sources=sources, unit=unit, pixel_aspect=pixel_aspect
    )

  def predictions(self, videos, *, hop=None, workers=1, each=None, **given):
    """Predicts several recordings: a list of Prediction, in their order.

    One that cannot be predicted has its `problem` and does not stop the others.

    Args:
      videos: paths of videos and of folders of videos, or that of a manifest.
      hop: as of `predict`.
      workers: processes that read and prepare the files.
      each: function of (Prediction, its prepared corpus or None), called with each as
        it comes, while its faces are there to be read.
      **given: as of `predict`, if there is one recording.

    Raises:
      InputError: there is nothing to predict, or the model cannot read what there is.
    """
    given = {name: x for name, x in given.items() if x is not None}
    found = []
    with predict.temporary() as folder:
      folder = Path(folder)
      asked = predict.ask(self._ensemble, predict.several(videos), given, folder)
      for one, corpus in predict.estimates(
        self._ensemble, asked, folder / 'prepared', hop=hop, workers=workers
      ):
        if corpus is None:
          told = result.failed(one)
        else:
          told = result.prediction(self._ensemble, one, corpus, asked.notes)
        if each is not None:
          each(told, corpus)
        found.append(told)
    return found


def load(path, name=None, fold=None) -> Model:
  """Loads trained models, without executing anything from their files.

  Args:
    path: the work directory of a finished run, or a folder of `mvp_jax export`.
    name: which model of the run, such as 'physio'; None = its main one.
    fold: only the models that were tested on this fold; None = all of them.

  Raises:
    InputError: there is no such model, or it was trained by another version.
  """
  return Model(load_ensemble(path, name, fold))
