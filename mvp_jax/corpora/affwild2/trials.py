"""Aff-Wild2's clips as trials: crops, sound and annotation on the video's clock."""

import dataclasses
import math
import sys

import cv2
import numpy as np

from mvp_jax.corpora.affwild2.tree import (
  Clip,
  crop_files,
  find_tree,
  fingerprint,
  read_annotation,
)
from mvp_jax.corpora.rated_in_time import FRAMES, RATED, SOUND, RatedInTime, Step
from mvp_jax.outcomes import Dropped
from mvp_jax.raw.audio import SoundTrack, pack_sound, read_sound
from mvp_jax.raw.frames import (
  JPEG_QUALITY,
  MAX_LENGTH_DIFFERENCE,
  MIN_FACE_SHARE,
  face_frames,
  pack_frames,
)
from mvp_jax.raw.numbered import read_picture
from mvp_jax.raw.on_disk import read_bytes, shown
from mvp_jax.raw.video import VideoInfo
from mvp_jax.raw.video_times import video_times
from mvp_jax.tasks.blobs import Blobs

_EARLY = 1e-3  # seconds; times are rounded
_NOTED_FRAMES = 2  # by which annotation and video may differ, unsaid
_HALVES = {'left': (0.0, 0.5), 'right': (0.5, 1.0)}
_SHOWN = 3


def rated_clip(clip: Clip, video_rate):
  """The annotation of a clip, and when its frames are shown, as arrays.

  Raises:
    Dropped: there is none, it is broken, or it does not go with the video.
  """
  values, rated = read_annotation(clip.annotation)
  times, _, notes = _times(clip, video_rate, len(values))
  return {
    'values': values,
    'rated': rated,
    'times': times.astype(np.float32),
    'notes': np.array('; '.join(notes)),
  }


def cropped_faces(clip: Clip, spec, video_rate):
  """The official crops of a clip. Raises Dropped."""
  count = len(read_annotation(clip.annotation)[0])
  times, end, _ = _times(clip, video_rate, count)
  return pack_frames(_cropped(clip, spec, times, end))


def found_faces(clip: Clip, spec, video_rate):
  """Our own crops, of the person's half of the picture. Raises Dropped."""
  own = dataclasses.replace(spec, region=_HALVES.get(clip.side, (0.0, 1.0)))
  return pack_frames(face_frames(_video(clip, 'missing_video'), own))


def heard_clip(clip: Clip, video_rate):
  """The sound of a clip, as long as its annotation. Raises Dropped."""
  video = _video(clip, 'missing_audio')
  count = len(read_annotation(clip.annotation)[0])
  _, end, _ = _times(clip, video_rate, count)
  return pack_sound(read_sound(SoundTrack(video, 0.0, end)))


def _video(clip, code):
  """The path of a clip's video. Raises Dropped."""
  if clip.video is None:
    raise Dropped(
      code,
      f'{clip.trial_id}: no video of this name (.mp4, .avi); unpack batch1, batch2 '
      'and new_vids there, or prepare the stream video alone, of the official crops',
    )
  return clip.video


def _times(clip, video_rate, count):
  """When each annotated frame is shown, float64 [count], when they end, and notes."""
  if clip.video is None:
    told = f'no video, taken to have {video_rate:g} frames a second'
    return np.arange(count) / video_rate, count / video_rate, [told]
  track = video_times(clip.video)
  times, notes, more = track.times, list(track.notes), count - len(track.times)
  step = float(np.median(np.diff(times)))
  if abs(more) * step > MAX_LENGTH_DIFFERENCE:
    raise Dropped(
      'length_mismatch',
      f'{shown(clip.annotation)}: {count} lines, and {shown(clip.video)} has '
      f'{len(times)} frames; take both from one release',
    )
  if abs(more) > _NOTED_FRAMES:
    notes.append(f'{count} lines of annotation for {len(times)} frames')
  if more > 0:  # as if it went on
    times = np.concatenate([times, times[-1] + step * np.arange(1, more + 1)])
  return times[:count], float(times[count - 1] + step), notes


def _cropped(clip, spec, times, end):
  """The official crops at a steady rate; the one before where a frame has none."""
  if clip.crops is None:
    raise Dropped(
      'missing_video',
      f'{clip.trial_id}: no folder cropped_aligned/{clip.trial_id}; unpack '
      "cropped_aligned there, or prepare with faces='video'",
    )
  files = crop_files(clip.crops)
  if not files:
    raise Dropped('missing_video', f'{shown(clip.crops)}: no crop in it (00001.jpg)')
  beyond = sum(number > len(times) for number in files)
  if beyond * end / len(times) > MAX_LENGTH_DIFFERENCE:
    raise Dropped(
      'length_mismatch',
      f'{shown(clip.annotation)}: {len(times)} lines, and {shown(clip.crops)} has '
      f'{beyond} crops of later frames; take both from one release',
    )
  wanted = np.arange(max(1, math.ceil(end * spec.rate - _EARLY))) / spec.rate
  numbers = np.searchsorted(times, wanted + _EARLY, 'right').clip(1)
  jpegs, valid, broken, last, last_number = Blobs(), [], 0, None, None
  for number in numbers.tolist():
    if number in files and number != last_number:
      jpeg = _jpeg(files[number], spec.size)
      broken += jpeg is None
      last, last_number = (jpeg, number) if jpeg is not None else (last, last_number)
    there = last_number == number
    if last is None:  # none so far: the first that there is
      first = files[min(files)]
      last = _jpeg(first, spec.size)
      if last is None:
        raise Dropped('broken_video', f'{shown(first)}: not a picture')
    jpegs.append(last)
    valid.append(there)
  share = float(np.mean(valid))
  if share < MIN_FACE_SHARE:
    raise Dropped(
      'no_face', f'{shown(clip.crops)}: a crop of {share:.1%} of the frames'
    )
  notes = [f'{broken} crops are no pictures'] if broken else []
  if beyond:
    notes.append(f'{beyond} crops of frames past the annotation are not used')
  return {
    'jpegs': jpegs,
    'times': wanted.astype(np.float32),
    'valid': np.array(valid),
    'info': VideoInfo(spec.rate, spec.size, spec.size, 1.0, len(wanted)),
    'quality': {'face_share': round(share, 4), 'video_notes': '; '.join(notes)},
  }


def _jpeg(path, size):
  """The bytes of a crop, `size` pixels wide and high; None if it is no picture."""
  image = read_picture(path)
  if image is None:
    return None
  if image.shape[:2] == (size, size):
    return read_bytes(path)
  smaller = image.shape[0] >= size
  image = cv2.resize(
    image, (size, size), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
  )
  _, jpeg = cv2.imencode('.jpg', image, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))
  return jpeg.tobytes()


class AffWild2Trials(RatedInTime):
  """The clips of the official training and validation sets. Raises InputError."""

  def __init__(self, manual_dir, wanted):
    self.tree, self.wanted = find_tree(manual_dir), wanted
    self.trials = list(self.tree.clips)
    self.marker = self.tree.marker

  @property
  def fingerprint(self):
    return fingerprint(self.tree)

  def people(self):
    """Of each video, its name: people are not told."""
    return {
      clip.subject: [f'affwild2:{(clip.video or clip.annotation).stem}']
      for clip in self.trials
    }

  def about(self, trial):
    return {'part': trial.part}

  def prepare(self, directory, engine):
    if self.tree.strangers:
      names = ', '.join(self.tree.strangers[:_SHOWN])
      more = ', ...' if len(self.tree.strangers) > _SHOWN else ''
      print(
        f'{self.tree.root}: {len(self.tree.strangers)} folders of crops have no '
        f'annotation and are not read (of the test set?): {names}{more}',
        file=sys.stderr,
      )
    return super().prepare(directory, engine)

  def steps(self):
    settings, spec = self.wanted.settings, self.wanted.faces
    rate = settings.video_rate
    steps = [Step('Annotations', RATED, rated_clip, (rate,))]
    if spec is not None:
      crops = cropped_faces if settings.faces == 'cropped' else found_faces
      steps.append(Step('Faces', FRAMES, crops, (spec, rate)))
    if 'audio' in self.wanted.streams:
      steps.append(Step('Sound', SOUND, heard_clip, (rate,)))
    return steps

  def files(self, clip):
    files = clip.annotation, clip.crops, clip.video
    return tuple(path for path in files if path is not None)

  def example(self, outcome):
    clip = outcome.trial
    source = {'part': clip.part, 'video': clip.video.name if clip.video else ''}
    return super().example(outcome) | {'source': source}

  def metadata(self, outcomes):
    return {'parts': {clip.trial_id: clip.part for clip in self.trials}}
