"""Pre-training of the physio transformer on body signals without labels.

  python launch.py --config=configs/physio_pretrain.py \\
      --config.pretrain.sources=deap:DIR,recordings:DIR --workdir=runs/physio

Any corpora can be mixed, whatever their channels; `recordings:DIR` holds your own with
a manifest.csv without ratings (docs/recordings.md). Spans of the signals are hidden and
filled in. A model whose transformer has the same sizes then starts from it:

  python launch.py --config=configs/recordings_fusion.py \\
      --config.modalities.physio.checkpoint=runs/physio --config.data.manual_dir=DIR

With `:small` (both here and there) the sizes are those that two cores train in minutes.
Without sources the run uses a synthetic twin of DEAP and the small transformer.
"""

from configs import base

CHANGES = {
  'job': 'pretrain',
  'encoder': {'kind': 'physio'},
  'input': {'max_seconds': 60.0},  # of longer ones a random minute is read
}
SMALL = {name: base.SMALL[name] for name in ('data', 'modalities', 'model')} | {
  'encoder': {'train': {'batch_size': 32, 'optimiser': {'steps': 1500}}}
}
EMBEDDED = {
  **SMALL,
  'data': {'channels': ('eda', 'ppg')},
  'twin': {
    'subjects': 4,
    'frame_rate': 5.0,
    'width': 160,
    'height': 128,
    'pixel_aspect': (1, 1),
  },
  'encoder': {
    'train': {
      'batch_size': 16,
      'checkpoint_every': 100,
      'inspect_every': 100,
      'optimiser': {'steps': 300, 'warmup_steps': 20},
    }
  },
}


def get_config(words=''):
  """The recipe at full size, and what the embedded default shrinks."""
  return base.get_config(
    'deap', words, changes=CHANGES, embedded=EMBEDDED, presets={'small': SMALL}
  )
