"""VideoMAE pre-training by tube masking, on faces or any video.

  python launch.py --config=configs/videomae_pretrain.py \\
      --config.sources=deap:DIR,videos:DIR --workdir=runs/pretrain

`deap:DIR` and `amigos:DIR` are official distributions, `recordings:DIR` holds your own
with a manifest.csv (docs/recordings.md), `videos:DIR` is any folder of video files;
each is decoded and cropped once. The work directory is then an encoder:

  python launch.py --config=configs/deap_fusion.py --config.encoder.checkpoint=DIR

Without sources the run uses a synthetic twin of DEAP and a tiny network, as declared
under `embedded`.
"""

from ml_collections import ConfigDict


def get_config():
  """The recipe of VideoMAE at full size, and what the embedded default shrinks."""
  config = ConfigDict()
  config.job = 'pretrain'
  config.seed = 0
  config.sources = ''  # such as 'deap:DIR,recordings:DIR'; empty: a twin
  config.weights = ()  # of the sources; empty: by their numbers of clips
  config.subjects = ()  # to train on; empty: all. Keep test subjects out
  config.checkpoint = ''  # weights to start from; empty: from scratch

  config.data = ConfigDict(
    dict(
      data_dir='data',
      frame_rate=25.0,
      frame_size=224,
      crop='X',
      channels=('eda', 'ppg'),
      clean=True,
      experiment='short',
      exclude=(),
      allow_dropped=(),
      workers=0,
      beam='',
    )
  )  # options of a Beam pipeline: docs/cluster.md
  config.clips = ConfigDict(dict(frames=16, stride=4, tubelet=2))
  config.clips_per_trial = 8  # an epoch
  # reconstruct=0.5 is VideoMAE V2's decoder masking.
  config.masks = ConfigDict(dict(kind='tube', ratio=0.9, reconstruct=1.0))
  config.views = ConfigDict(dict(scales=(1.0, 0.875, 0.75, 0.66), flip=0.5, repeats=4))
  config.model = ConfigDict(
    dict(
      size='B',
      patch=16,
      dtype='bfloat16',
      remat='none',
      drop_path=0.0,
      target='normalised',  # or pixels, as they are
      noise_floor=1e-6,
    )
  )  # of the normalised target

  # Learning rate 1.5e-4 for each 256 views of a batch; warm-up 5 %: 40 of 800 epochs.
  config.train = ConfigDict(
    dict(
      batch_size=1024,
      accumulate=1,
      log_every=20,
      validate_every=0,
      checkpoint_every=1000,
      keep_checkpoints=2,
      keep_every=20_000,
      workers=8,
      inspect_every=2000,
      profile=0,
      optimiser=dict(
        learning_rate=1.5e-4 * 1024 / 256,
        steps=100_000,
        warmup_steps=5000,
        weight_decay=0.05,
        beta1=0.9,
        beta2=0.95,
        clip_norm=0.0,
      ),
    )
  )
  config.mesh = ConfigDict(dict(data=-1, fsdp=1, tensor=1))

  config.twin = ConfigDict(
    dict(
      subjects=4,
      trials=40,
      seed=0,
      variant='planted',
      frame_rate=5.0,
      width=160,
      height=128,
      pixel_aspect=(1, 1),
      video_seconds=60.0,
    )
  )
  config.embedded = ConfigDict(
    dict(
      data=dict(frame_rate=5.0, frame_size=64),
      clips=dict(stride=2),
      masks=dict(ratio=0.75),
      views=dict(scales=(1.0,), repeats=1),
      model=dict(size='tiny', dtype='float32'),
      train=dict(
        batch_size=16,
        workers=0,
        checkpoint_every=100,
        inspect_every=100,
        optimiser=dict(learning_rate=3e-3, steps=300, warmup_steps=40),
      ),
    )
  )
  return config
