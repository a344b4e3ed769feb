"""MVP on AMIGOS: cross-attention fusion of face video with EDA and ECG.

  python launch.py --config=configs/amigos_fusion.py --config.data.manual_dir=DIR

DIR is the official AMIGOS distribution. Without it the run uses a synthetic twin,
shrunk as declared under `embedded` to what two cores can do:

  python launch.py --config=configs/amigos_fusion.py
  python launch.py --config=configs/amigos_fusion.py:null   (a twin without effect)
  python launch.py --config=configs/amigos_fusion.py:leaky  (identity tells the label)

Targets from the external annotation instead of the self-assessment:

  --config.data.annotation=external --config.input.threshold=0.0
  --config.input.targets=external_valence,external_arousal
"""

from ml_collections import ConfigDict, FieldReference

from mvp_jax.corpora.amigos.twin_spec import SHORT


def get_config(twin='planted'):
  """The experiment at full size, and what the embedded default shrinks."""
  config = ConfigDict()
  config.job = 'fusion'
  config.dataset = 'amigos'
  config.video_backbone = 'videomae'  # or au: action units, docs/action_units.md
  config.seed = 0

  config.data = ConfigDict()
  config.data.manual_dir = ''  # empty: a synthetic twin
  config.data.data_dir = 'data'
  config.data.frame_rate = 25.0  # Hz
  config.data.frame_size = 224
  config.data.crop = 'X'  # whole face and some background; Y: face only
  config.data.channels = ('eda', 'ecg')  # also ecg_left
  config.data.clean = True  # take hum, wander and noise out of signals
  config.data.experiment = 'short'  # or long: 14 to 24 minutes, see max_seconds
  config.data.annotation = ('self',)  # ratings that a trial must have: self, external
  # Participants to leave out; many studies do so with 9, 12, 21, 22, 23, 24, 33.
  config.data.exclude = ()
  config.data.openface_dir = ''  # for au; empty: `openface` in manual_dir
  config.data.allow_dropped = ()
  config.data.workers = 0  # one a core
  config.data.beam = ''  # options of a Beam pipeline: docs/cluster.md

  config.input = ConfigDict()
  config.input.targets = ('valence', 'arousal')
  # A rating above it is high; also 'median' (of the training trials), 'subject_median'.
  config.input.threshold = FieldReference(5.0, field_type=object)
  config.input.last_seconds = 0.0  # of each trial are used; 0: all
  config.input.max_seconds = 160.0  # short stimuli last 51 to 150 s
  config.input.standardise = 'trial'  # signals; or 'subject'
  config.input.au_rate = 4.0  # tokens a second of action units
  # 16 frames, every fourth: 2.56 s a clip, end to end over the whole trial.
  config.input.clips = ConfigDict(dict(frames=16, stride=4, spacing=2.56, tubelet=2))

  config.encoder = ConfigDict()
  config.encoder.size = 'B'
  config.encoder.patch = 16
  config.encoder.dtype = 'bfloat16'
  config.encoder.remat = 'none'  # or linear, full: less memory, more work
  config.encoder.feature_grid = 1  # the mean over the whole face
  config.encoder.drop_path = 0.0
  config.encoder.pretrained = True  # False: random weights, all else equal
  config.encoder.checkpoint = ''  # empty: pre-train on `subjects` set aside
  config.encoder.subjects = 4
  config.encoder.clips_per_trial = 8
  # reconstruct=0.5 is VideoMAE V2's decoder masking.
  config.encoder.target = 'normalised'  # or pixels, as they are
  config.encoder.noise_floor = 1e-6  # of the normalised target
  config.encoder.masks = ConfigDict(dict(kind='tube', ratio=0.9, reconstruct=1.0))
  config.encoder.views = ConfigDict(
    dict(scales=(1.0, 0.875, 0.75, 0.66), flip=0.5, repeats=4)
  )
  config.encoder.finetune = False
  config.encoder.feature_batch = 32
  config.encoder.train = ConfigDict(
    dict(
      batch_size=64,
      log_every=20,
      validate_every=0,
      checkpoint_every=500,
      keep_checkpoints=2,
      keep_every=0,
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

  config.model = ConfigDict(
    dict(
      centre_video='onset',
      onset_seconds=2.0,
      video_depth=1,
      depth=2,
      heads=4,
      mlp_width=1024,
      dropout=0.1,
      remat='none',
      dtype='float32',
      physio=dict(
        widths=(64, 128, 256),
        kernels=(64, 32, 16),
        strides=(8, 4, 2),
        depth=2,
        heads=2,
        mlp_width=1024,
        dropout=0.1,
      ),
      action_units=dict(depth=2, heads=4, mlp_width=1024, dropout=0.1),
    )
  )

  config.train = ConfigDict(
    dict(
      batch_size=32,
      log_every=10,
      validate_every=50,
      checkpoint_every=200,
      keep_checkpoints=2,
      keep_every=0,
      workers=0,
      optimiser=dict(
        learning_rate=3e-4,
        steps=1500,
        warmup_steps=100,
        weight_decay=0.05,
        beta1=0.9,
        beta2=0.999,
        clip_norm=1.0,
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
      grid=dict(learning_rate=(), weight_decay=()),  # to choose among
      models=('fusion', 'physio', 'video'),
      batch_size=32,
      together=0,
      allow_encoder_overlap=False,
      leak_meter=False,
    )
  )
  config.mesh = ConfigDict(dict(data=-1, fsdp=1, tensor=1))

  config.twin = ConfigDict(
    dict(
      subjects=40,
      stimuli=SHORT,
      seed=0,
      variant=twin,
      frame_rate=25.0,
      width=1920,
      height=1080,
      scale=1.0,
    )
  )

  # What the embedded default shrinks. Trials stay whole.
  config.embedded = ConfigDict(
    dict(
      twin=dict(subjects=24, frame_rate=5.0, width=160, height=128),
      data=dict(frame_rate=5.0, frame_size=64),
      input=dict(clips=dict(stride=2, spacing=6.4)),
      encoder=dict(
        size='tiny',
        dtype='float32',
        feature_grid=2,
        masks=dict(ratio=0.75),
        views=dict(scales=(1.0,), repeats=1),
        train=dict(
          batch_size=16,
          checkpoint_every=160,
          workers=0,
          optimiser=dict(learning_rate=3e-3, steps=320, warmup_steps=40),
        ),
      ),
      model=dict(
        depth=1,
        heads=2,
        mlp_width=128,
        dropout=0.2,
        physio=dict(
          widths=(32, 48, 64),
          kernels=(64, 16, 8),
          strides=(16, 4, 2),
          depth=1,
          mlp_width=128,
        ),
        action_units=dict(depth=1, heads=2, mlp_width=128, dropout=0.2),
      ),
      train=dict(
        validate_every=25,
        optimiser=dict(learning_rate=2e-3, steps=100, warmup_steps=10),
      ),
      evaluation=dict(folds=4),
    )
  )
  return config
