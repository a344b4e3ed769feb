"""Settings: checked at the border, one clear line for what is wrong."""

import dataclasses
import importlib.util
import pathlib

import pytest

from mvp_jax.config import Config, of_kind, parse, resolve, to_tree
from mvp_jax.corpora.amigos.twin_spec import AmigosSpec
from mvp_jax.data.clips import ClipLayout
from mvp_jax.errors import InputError
from mvp_jax.models.backbones.multiscale import MSN69
from mvp_jax.synthetic.spec import VARIANTS
from mvp_jax.training.encoder import VideoMAEEncoder
from mvp_jax.training.r2plus1d_encoder import R2Plus1DEncoder

_FILE = pathlib.Path(__file__).parents[1] / 'configs' / 'deap_fusion.py'
_AMIGOS = _FILE.with_name('amigos_fusion.py')


def _get_config(*args, file=_FILE):
  spec = importlib.util.spec_from_file_location(file.stem, file)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module.get_config(*args)


def _parse(overrides=None, *args):
  """As `launch.py` does it: overrides are set, and named."""
  config = _get_config(*args)
  config.update_from_flattened_dict(overrides or {})
  return parse(resolve(config, overrides))


def _flat(tree, prefix=''):
  """{dotted name: value} of nested dicts."""
  found = {}
  for key, value in tree.items():
    found |= (
      _flat(value, f'{prefix}{key}.')
      if isinstance(value, dict)
      else {prefix + key: value}
    )
  return found


@pytest.fixture(scope='module')
def full():
  """{dotted name: value} of the config file at full size."""
  tree = _get_config().to_dict()
  del tree['embedded']
  return _flat(tree)


@pytest.fixture(scope='module')
def shrunk():
  """{dotted name: value} of what the embedded default changes."""
  return _flat(_get_config().embedded.to_dict())


def test_without_deap_the_run_is_shrunk_as_declared(full, shrunk):
  config = _parse()
  assert _flat(to_tree(config)).items() >= (full | shrunk).items()
  assert config.dataset == 'deap' and config.data.manual_dir == ''
  assert config.encoder.size == 'tiny' and config.data.frame_size < 224
  # The 60 s of a trial stay whole.
  assert config.input.max_seconds == config.twin.video_seconds == 60


def test_with_deap_nothing_is_shrunk(full):
  config = _parse({'data.manual_dir': '/deap'})
  assert _flat(to_tree(config)).items() >= (full | {'data.manual_dir': '/deap'}).items()
  assert config.data.frame_size == 224 and config.encoder.size == 'B'


def test_what_the_user_gives_wins_over_the_shrinking(full, shrunk):
  given = {
    'data.frame_size': 112,
    'encoder.train.optimiser.steps': 7,
    'twin.subjects': 5,
    'seed': 3,
  }
  assert set(given) & set(shrunk)
  found = _flat(to_tree(_parse(given)))
  assert found.items() >= (full | shrunk | given).items()


def test_what_the_user_gives_wins_even_where_it_is_the_full_size():
  # Not told from the default by its value, but by having been given.
  assert _parse({'data.frame_size': 224}).data.frame_size == 224


@pytest.mark.parametrize('variant', VARIANTS)
def test_a_word_after_the_file_is_the_twin_s_variant(variant):
  assert _parse(None, variant).twin.variant == variant


def test_small_is_for_real_data_too_and_words_can_be_joined():
  real = {'data.manual_dir': '/deap'}
  small = _parse(real, 'small')
  assert small.encoder.size == 'tiny' and small.data.frame_size == 64
  assert small.model.width == small.modalities['physio'].widths[-1] == 64
  assert small.train.optimiser.steps < _parse(real).train.optimiser.steps
  assert small.train.optimiser.clip_norm == _parse(real).train.optimiser.clip_norm
  assert small.encoder.train.optimiser.beta2 == 0.95
  # What is right for a twin alone is not in it.
  assert small.encoder.noise_floor == 1e-6 and small.evaluation.folds == 6
  both = _parse(real, 'leaky,action_units,small')
  assert both.twin.variant == 'leaky' and both.encoder.size == 'tiny'
  assert both.models['video'] == 'action_units'


def test_a_section_given_in_part_keeps_the_rest_of_its_default():
  """Not that of its class: the recipes of encoder and fusion differ."""
  whole = Config(dataset='deap')
  tree = {'dataset': 'deap', 'train': {'batch_size': 8, 'optimiser': {'steps': 7}}}
  tree['encoder'] = {'train': {'batch_size': 128}}
  found = parse(tree)
  assert found.train == dataclasses.replace(
    whole.train,
    batch_size=8,
    optimiser=dataclasses.replace(whole.train.optimiser, steps=7),
  )
  assert found.train.optimiser.clip_norm == 1.0
  assert found.encoder.train == dataclasses.replace(whole.encoder.train, batch_size=128)
  assert found.encoder.train.optimiser.beta2 == 0.95


def test_the_recipe_of_pre_training_is_videomae_s():
  config = _get_config(file=_FILE.with_name('videomae_pretrain.py'))
  config.pretrain.sources = ('deap:DIR',)
  train = parse(resolve(config)).encoder.train
  optimiser = train.optimiser
  assert (optimiser.beta1, optimiser.beta2, optimiser.weight_decay) == (0.9, 0.95, 0.05)
  assert optimiser.learning_rate == 1.5e-4 * train.batch_size / 256
  assert train.workers == 8 and train.validate_every == 0


def test_a_word_that_is_none_is_one_line_that_lists_them():
  with pytest.raises(
    InputError, match="--config: 'nul' is none of small, action_units, planted, null"
  ):
    _get_config('nul')


@pytest.mark.parametrize(
  ('path', 'text', 'value'),
  [
    ('evaluation.grid.learning_rate', '1e-3,2e-3', (1e-3, 2e-3)),
    ('target.threshold', 'median', 'median'),
    ('target.threshold', '4.5', 4.5),
    ('encoder.views.scales', '1.0,0.5', (1.0, 0.5)),
    ('encoder.finetune', 'True', True),
    ('seed', '7', 7),
  ],
)
def test_settings_can_be_text_as_on_the_command_line(path, text, value):
  tree = {'dataset': 'deap'}
  *sections, name = path.split('.')
  inner = tree
  for section in sections:
    inner = inner.setdefault(section, {})
  inner[name] = text
  found = parse(tree)
  for part in path.split('.'):
    found = getattr(found, part)
  assert found == value and type(found) is type(value)


def test_every_setting_shrunk_is_a_setting(full, shrunk):
  assert set(shrunk) <= set(full)


def test_amigos_has_its_own_twin_and_settings():
  config = _get_config('null', file=_AMIGOS)
  tree, shrunk = config.to_dict(), _flat(config.embedded.to_dict())
  del tree['embedded']
  assert set(shrunk) <= set(_flat(tree))
  found = parse(resolve(config))
  assert _flat(to_tree(found)).items() >= (_flat(tree) | shrunk).items()
  assert isinstance(found.twin, AmigosSpec) and found.twin.variant == 'null'
  assert found.data.channels == ('eda', 'ecg') and found.dataset == 'amigos'
  given = parse(resolve(config) | {'twin': {'stimuli': (4, 'N1')}})
  assert given.twin.stimuli == ('4', 'N1')
  # Nothing of a trial is cut off.
  longest = max(found.twin.seconds(stimulus) for stimulus in found.twin.stimuli)
  assert longest == 150 and found.input.max_seconds >= longest


@pytest.mark.parametrize(
  'file',
  sorted(set(_FILE.parent.glob('*.py')) - {_FILE.with_name('base.py')}),
  ids=lambda file: file.stem,
)
def test_every_config_file_is_described_by_its_command(file):
  assert f'python launch.py --config=configs/{file.name}' in file.read_text()


def test_an_empty_config_is_the_default():
  config = parse({'dataset': 'deap'})
  assert parse(to_tree(config)) == config
  assert config.target == Config(dataset='deap').target


def test_a_parsed_config_is_frozen_and_goes_there_and_back():
  config = _parse()
  assert config == _parse()
  assert parse(to_tree(config)) == config
  with pytest.raises(dataclasses.FrozenInstanceError):
    config.seed = 1


def test_whole_numbers_are_floats_where_those_are_wanted():
  rate = parse({'dataset': 'deap', 'data': {'frame_rate': 10}}).data.frame_rate
  assert rate == 10.0 and isinstance(rate, float)


@pytest.mark.parametrize('value', ['eda', ('eda',), ['eda']])
def test_one_of_a_list_may_stand_alone(value):
  assert parse({'dataset': 'deap', 'data': {'channels': value}}).data.channels == (
    'eda',
  )


def test_a_list_may_be_words_and_commas():
  assert parse({'dataset': 'deap', 'data': {'channels': 'eda, ppg'}}).data.channels == (
    'eda',
    'ppg',
  )


@pytest.mark.parametrize(
  ('tree', 'message'),
  [
    (
      {'encoder': {'noise_floor': 0.0}},
      r'config\.encoder: noise_floor is 0\.0, must be above 0',
    ),
    ({'sede': 1}, r'config\.sede: no such setting; there are .*seed'),
    ({'data': {'fps': 1}}, r'config\.data\.fps: no such setting; .*frame_rate'),
    (
      {'train': {'optimiser': {'lr': 1.0}}},
      r'config\.train\.optimiser\.lr: no such setting; .*learning_rate',
    ),
    ({'data': 3}, r'config\.data: expected a section, got 3'),
    ({'data': None}, r'config\.data: expected a section, got None'),
    ({'seed': 'one'}, r"config\.seed: 'one' is a str, expected int"),
    ({'seed': 1.5}, r'config\.seed: 1\.5 is a float, expected int'),
    ({'seed': True}, r'config\.seed: True is a bool, expected int'),
    ({'seed': None}, r'config\.seed: None is a NoneType, expected int'),
    (
      {'train': {'optimiser': {'learning_rate': True}}},
      r'config\.train\.optimiser\.learning_rate: True is a bool, expected float',
    ),
    ({'encoder': {'finetune': 1}}, r'config\.encoder\.finetune: 1 is a int'),
    (
      {'evaluation': {'models': ('fusion', 3)}},
      r'config\.evaluation\.models\[1\]: 3 is a int, expected str',
    ),
    (
      {'modalities': {'physio': {'strides': (8, 4)}}},
      r'config\.modalities\.physio: .*differ in number',
    ),
    (
      {'modalities': {'physio': {'heads': 3}}},
      r'config: modalities\.physio\.heads: 3 heads do not divide the width 256',
    ),
    (
      {'modalities': {'physio': {'widths': (64, 128, 100)}}},
      r'config: modalities\.physio\.widths end in 100, must end in model.width, 256',
    ),
    (
      {'models': {'face': 'action_units'}, 'evaluation': {'models': ('face',)}}
      | {'modalities': {'action_units': {'heads': 3}}},
      r'config: modalities\.action_units\.heads: 3 heads do not divide',
    ),
    ({'model': {'heads': 5}}, r'config\.model: 5 heads do not divide the width 256'),
    ({'model': {'dtype': 'f32'}}, r"config\.model: dtype 'f32' is none of float32"),
    ({'train': {'log_every': 0}}, r'config\.train: log_every is 0'),
    (
      {'encoder': {'train': {'optimiser': {'steps': 0}}}},
      r'config\.encoder\.train\.optimiser: steps is 0',
    ),
    (
      {'modalities': {'video': {'centre': 'x'}}},
      r"config\.modalities\.video: centre 'x' is none of onset",
    ),
    ({'encoder': {'dtype': 'f8'}}, r"config\.encoder: dtype 'f8' is none of"),
    # What there is of each kind of addition is listed.
    (
      {'modalities': {'audio': {}}},
      r"config\.modalities\.audio: .*'audio' is none of .*physio, video",
    ),
    ({'models': {'all': 'physio+audio'}}, r"config: models\.all: .* 'audio', .*physio"),
    (
      {'encoder': {'kind': 'r3d'}},
      r"config\.encoder: kind: encoder 'r3d' is none of videomae",
    ),
    ({'model': {'fusion': 'x'}}, r"config\.model: fusion 'x' is none of .*cross"),
    ({'target': {'kind': 'x'}}, r"config\.target: .*'x' is none of binary"),
    (
      {'dataset': 'deep'},
      r"config[.\w]*: .*'deep'; there are affwild2, amigos, avec2014",
    ),
    ({'encoder': {'masks': {'kind': 'x'}}}, r"config\.encoder\.masks: kind 'x' is"),
    ({'encoder': {'mask_ratio': 0.9}}, r'config\.encoder\.mask_ratio: no such setting'),
    (
      {'encoder': {'views': {'repeats': 5}}},
      r'config\.encoder: train.batch_size 64 counts views, and is no multiple of',
    ),
    ({'twin': {'variant': 'x'}}, r'config\.twin: .*variant: one of planted'),
    (
      {'dataset': 'amigos', 'twin': {'trials': 3}},
      r'config\.twin\.trials: no such setting; there are .*stimuli',
    ),
    (
      {'dataset': 'amigos', 'twin': {'stimuli': 'N2'}},
      r'config\.twin: .*stimuli: some of',
    ),
  ],
)
def test_what_is_wrong_is_one_line_that_names_it(tree, message):
  with pytest.raises(InputError, match='^' + message) as error:
    parse({'dataset': 'deap'} | tree)
  assert '\n' not in str(error.value)


def test_the_encoder_s_model_has_the_sizes_given():
  clips = ClipLayout(frames=12, tubelet=3)
  model = VideoMAEEncoder(size='S', patch=8, drop_path=0.2, dtype='bfloat16').backbone(
    clips, 64
  )
  assert (model.width, model.depth, model.heads) == (384, 12, 6)
  assert (model.frames, model.tubelet, model.size, model.patch) == (12, 3, 64, 8)
  assert (model.drop_path, model.dtype) == (0.2, 'bfloat16')
  assert model.slots == clips.slots


@pytest.mark.parametrize('overrides', [{}, {'data.manual_dir': 'somewhere'}])
def test_the_config_of_own_recordings_fits(overrides):
  config = _get_config(file=_FILE.with_name('recordings_fusion.py'))
  assert set(_flat(config.embedded.to_dict())) <= set(_flat(config.to_dict()))
  config.update_from_flattened_dict(overrides)
  parsed = parse(resolve(config, overrides))
  assert parsed.dataset == 'recordings' and parsed.data.channels == ()
  assert parsed.encoder.size == ('B' if overrides else 'tiny')


def test_a_laptop_reads_a_face_often_enough_for_ratings_in_time():
  given = {'data.manual_dir': 'somewhere'}
  config = _get_config('small', file=_FILE.with_name('affwild2_jca.py'))
  config.update_from_flattened_dict(given)
  parsed = parse(resolve(config, given))
  assert parsed.encoder.size == 'tiny' and parsed.modalities['voice'].heads == 2
  clips = parsed.input.clips
  slot = clips.tubelet * clips.stride / parsed.data.frame_rate  # seconds
  assert slot <= 0.4 and clips.spacing == clips.frames * clips.stride / 5


@pytest.mark.parametrize(
  ('words', 'reads', 'described', 'lost'),
  [
    ('', ('voice', 'video', 'physio'), ('audio', 'signals'), ('missing_signals',)),
    ('voice_and_face', ('voice', 'video'), ('audio',), ()),
    ('voice_and_face,small', ('voice', 'video'), ('audio',), ()),
  ],
)
def test_recola_with_biosignals_or_with_all_people(words, reads, described, lost):
  config = _get_config(words, file=_FILE.with_name('recola_jca.py'))
  full, shrunk = _flat(config.to_dict()), _flat(config.embedded.to_dict())
  assert set(shrunk) <= set(full)
  for given in ({}, {'data.manual_dir': 'somewhere'}):
    config.update_from_flattened_dict(given)
    parsed = parse(resolve(config, given))
    assert parsed.modalities_of('fusion') == (*reads, 'descriptors')
    assert parsed.evaluation.models == ('fusion', *reads, 'descriptors')
    assert parsed.modalities['descriptors'].streams == described
    assert parsed.data.allow_dropped == lost and parsed.model.fusion == 'joint'
    assert parsed.target.rate == (25.0 if given else 10.0)
    # Nobody's five minutes are cut.
    assert parsed.input.max_seconds > 300.04 > parsed.twin.seconds


@pytest.mark.parametrize('name', ['amigos_fusion', 'recordings_fusion'])
def test_what_can_be_set_for_deap_can_be_set_for_other_corpora(full, name):
  other = _flat(_get_config(file=_FILE.with_name(f'{name}.py')).to_dict())
  corpus = ('data.', 'twin.', 'embedded.')  # differ with the corpus

  def names(flat):
    return {key for key in flat if not key.startswith(corpus)}

  assert names(other) == names(full)


def test_another_kind_by_flags_leaves_out_what_only_the_former_has():
  given = {
    'encoder.kind': 'r2plus1d',
    'encoder.checkpoint': 'r2plus1d_18.pth',
    'encoder.finetune': True,
    'input.clips.tubelet': 8,
  }
  for without_data in ({}, {'data.manual_dir': 'deap'}):
    config = _parse(given | without_data)
    assert type(config.encoder) is R2Plus1DEncoder and config.encoder.finetune
    assert config.encoder.network(config).slots == 2
  with pytest.raises(InputError, match=r'config\.encoder\.patch: no such setting'):
    _parse(given | {'encoder.patch': 8})


def test_another_kind_has_its_own_defaults():
  tree = to_tree(Config(dataset='deap'))['encoder']
  found = of_kind('encoder', tree | {'kind': 'msn69', 'subjects': 3}, {}, {'patch'})
  assert found['widths'] == MSN69.widths and found['subjects'] == 3
  assert 'masks' not in found and found['patch'] == tree['patch']  # as it was asked
  back = of_kind('encoder', found | {'kind': 'videomae'}, {})
  assert 'widths' not in back and back['masks'] == tree['masks']
  assert of_kind('encoder', {'kind': 'x'}, {}) == {'kind': 'x'}  # said elsewhere
