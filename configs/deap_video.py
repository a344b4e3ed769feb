"""VideoMAE fine-tuned to valence and arousal on DEAP's face videos (MVP, Figure 2).

  python launch.py --config=configs/deap_video.py --config.data.manual_dir=DIR

DIR is the official DEAP distribution. Without it the run uses a synthetic twin, the
same as that of deap_fusion.py, shrunk as declared under `embedded`:

  python launch.py --config=configs/deap_video.py
  python launch.py --config=configs/deap_video.py --config.encoder.pretrained=False
                   --workdir=runs/scratch       (the ablation: no pre-training)
"""

from ml_collections import ConfigDict, FieldReference


def get_config(twin='planted'):
  """The recipe of VideoMAE's fine-tuning, and what the embedded default shrinks."""
  config = ConfigDict()
  config.job = 'video'
  config.dataset = 'deap'
  config.seed = 0

  config.data = ConfigDict()
  config.data.manual_dir = ''  # empty: a synthetic twin
  config.data.data_dir = 'data'
  config.data.frame_rate = 25.0  # Hz
  config.data.frame_size = 224
  config.data.crop = 'X'  # whole face and some background; Y: face only
  config.data.channels = ('eda', 'ppg')
  config.data.clean = True  # take hum, wander and noise out of signals
  config.data.allow_dropped = ()
  config.data.workers = 0  # one a core
  config.data.beam = ''  # options of a Beam pipeline: docs/cluster.md

  config.input = ConfigDict()
  config.input.targets = ('valence', 'arousal')
  # A rating above it is high; also 'median' (of the training trials), 'subject_median'.
  config.input.threshold = FieldReference(5.0, field_type=object)
  config.input.clips = ConfigDict(dict(frames=16, stride=4, spacing=2.56, tubelet=2))
  config.input.clips_per_trial = 8  # an epoch
  config.input.views = 2  # of each clip read, each augmented for itself
  config.input.test_clips = 5  # three crops of each
  config.input.augment = ConfigDict(
    dict(
      operations=4,
      probability=0.5,
      magnitude=7.0,
      magnitude_std=0.5,
      crop_area=(0.08, 1.0),
      crop_aspect=(0.75, 4 / 3),
      flip=0.5,
      erase=0.25,
    )
  )

  config.encoder = ConfigDict()  # as in deap_fusion.py: it is pre-trained once
  config.encoder.size = 'B'
  config.encoder.patch = 16
  config.encoder.dtype = 'bfloat16'
  config.encoder.remat = 'none'  # or linear, full: less memory, more work
  config.encoder.pretrained = True  # False: from scratch, all else equal
  config.encoder.checkpoint = ''  # empty: pre-train on `subjects` set aside
  config.encoder.subjects = 4
  config.encoder.target = 'normalised'  # or pixels, as they are
  config.encoder.noise_floor = 1e-6  # of the normalised target
  config.encoder.masks = ConfigDict(dict(kind='tube', ratio=0.9, reconstruct=1.0))
  config.encoder.views = ConfigDict(
    dict(scales=(1.0, 0.875, 0.75, 0.66), flip=0.5, repeats=4)
  )
  config.encoder.clips_per_trial = 8
  config.encoder.train = ConfigDict(
    dict(
      batch_size=64,
      log_every=20,
      validate_every=0,
      checkpoint_every=500,
      keep_checkpoints=2,
      workers=8,
      optimiser=dict(
        learning_rate=1.5e-4 * 64 / 256,
        steps=16_000,
        warmup_steps=800,
        weight_decay=0.05,
        beta1=0.9,
        beta2=0.95,
        clip_norm=0.0,
      ),
    )
  )

  config.regularisation = ConfigDict(
    dict(
      drop_path=0.1,
      dropout=0.0,
      label_smoothing=0.1,
      mixup=0.8,
      cutmix=1.0,
      mix_probability=1.0,
      cutmix_share=0.5,
    )
  )

  # About 560 trials to train on, 140 steps an epoch of 32 clips: 100 epochs.
  config.train = ConfigDict(
    dict(
      batch_size=32,
      log_every=10,
      validate_every=700,
      checkpoint_every=700,
      keep_checkpoints=2,
      workers=8,
      optimiser=dict(
        learning_rate=1e-3 * 32 / 256,
        min_learning_rate=1e-6,
        steps=14_000,
        warmup_steps=700,
        weight_decay=0.05,
        beta1=0.9,
        beta2=0.999,
        clip_norm=0.0,
        layer_decay=0.75,
        ema=0.999,
      ),
    )
  )

  config.evaluation = ConfigDict(
    dict(
      protocol='subjects',
      folds=6,
      stimulus_folds=2,
      validation_subjects=1,
      seeds=1,
      batch_size=8,
      allow_encoder_overlap=False,
    )
  )
  config.mesh = ConfigDict(dict(data=-1, fsdp=1, tensor=1))

  config.twin = ConfigDict(
    dict(
      subjects=32,
      trials=40,
      seed=0,
      variant=twin,
      frame_rate=50.0,
      width=720,
      height=576,
      pixel_aspect=(16, 15),
      video_seconds=60.0,
    )
  )

  # What the embedded default shrinks. Full regularisation suits a hundred
  # epochs; through it a tiny encoder learns nothing in one, so most of it is off.
  # Half of a small picture is enough to hide, and drawn skin is all noise.
  config.embedded = ConfigDict(
    dict(
      twin=dict(
        subjects=20, frame_rate=5.0, width=160, height=128, pixel_aspect=(1, 1)
      ),
      data=dict(frame_rate=5.0, frame_size=64),
      input=dict(
        clips=dict(stride=2, spacing=6.4),
        views=1,
        augment=dict(operations=0, crop_area=(0.8, 1.0), erase=0.0),
      ),
      encoder=dict(
        size='tiny',
        dtype='float32',
        noise_floor=0.05,
        masks=dict(ratio=0.5),
        views=dict(scales=(1.0,)),
        train=dict(
          batch_size=32,
          checkpoint_every=200,
          workers=0,
          optimiser=dict(learning_rate=1e-3, steps=600, warmup_steps=60, clip_norm=1.0),
        ),
      ),
      regularisation=dict(mix_probability=0.0),
      train=dict(
        batch_size=32,
        validate_every=50,
        checkpoint_every=50,
        workers=0,
        optimiser=dict(
          learning_rate=2e-3, steps=200, warmup_steps=20, layer_decay=0.85, ema=0.9
        ),
      ),
      evaluation=dict(folds=4),
    )
  )
  return config
