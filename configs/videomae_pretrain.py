"""VideoMAE pre-training by tube masking, on faces or any video.

  python launch.py --config=configs/videomae_pretrain.py \\
      --config.pretrain.sources=deap:DIR,videos:DIR --workdir=runs/pretrain

`deap:DIR` and `amigos:DIR` are official distributions, `recordings:DIR` holds your own
with a manifest.csv (docs/recordings.md), `videos:DIR` is any folder of video files;
each is decoded and cropped once. The work directory is then an encoder:

  python launch.py --config=configs/deap_fusion.py --config.encoder.checkpoint=DIR

Without sources the run uses a synthetic twin of DEAP and a tiny network.
"""

from configs import base

# Learning rate 1.5e-4 for each 256 views of a batch; warm-up 5 %: 40 of 800 epochs.
CHANGES = {
  'job': 'pretrain',
  'data': {'channels': ('eda', 'ppg')},
  'encoder': {
    'train': {
      'batch_size': 1024,
      'checkpoint_every': 1000,
      'keep_every': 20_000,
      'inspect_every': 2000,
      'optimiser': {
        'learning_rate': 1.5e-4 * 1024 / 256,
        'steps': 100_000,
        'warmup_steps': 5000,
      },
    }
  },
}
EMBEDDED = {
  'twin': {
    'subjects': 4,
    'frame_rate': 5.0,
    'width': 160,
    'height': 128,
    'pixel_aspect': (1, 1),
  },
  'encoder': {
    'masks': {'ratio': 0.75},
    'views': {'repeats': 1},
    'noise_floor': 0.05,  # drawn skin is all noise
    'train': {
      'batch_size': 16,
      'checkpoint_every': 100,
      'inspect_every': 100,
      'optimiser': {
        'learning_rate': 3e-3,
        'steps': 300,
        'warmup_steps': 40,
        'clip_norm': 0.0,
      },
    },
  },
}


def get_config(words=''):
  """The recipe of VideoMAE at full size, and what the embedded default shrinks."""
  return base.get_config('deap', words, changes=CHANGES, embedded=EMBEDDED)
