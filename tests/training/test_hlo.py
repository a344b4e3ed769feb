"""The text of a compiled program, as TPU's compiler writes it."""
# ruff: noqa: E501

import types

import pytest

from mvp_jax.training import traffic
from mvp_jax.training.collectives import counted, moved_bytes
from mvp_jax.training.hlo import Program

# As TPU's compiler writes: layouts with tiles and memory spaces, a loop whose trips
# stand in its condition, a kernel with attributes of several lines.
_TEXT = """HloModule jit_step, is_scheduled=true

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[]{:T(128)} parameter(0)
  %b = f32[]{:T(128)} parameter(1)
  ROOT %sum = f32[]{:T(128)} add(%a, %b)
}

%bitcast_fusion (p: bf16[4,256,128]) -> bf16[4,256,128] {
  %p = bf16[4,256,128]{2,1,0:T(8,128)(2,1)} parameter(0)
  ROOT %same = bf16[4,256,128]{2,1,0:T(8,128)(2,1)} bitcast(%p)
}

%one_layer (p0: bf16[4,256,128], p1: s32[]) -> bf16[1,256,128] {
  %p1 = s32[]{:T(128)} parameter(1)
  %p0 = bf16[4,256,128]{2,1,0:T(8,128)(2,1)} parameter(0)
  %zero = s32[]{:T(128)} constant(0)
  ROOT %cut = bf16[1,256,128]{2,1,0:T(8,128)(2,1)S(1)} dynamic-slice(%p0, %p1, %zero, %zero)
}

%kept (q0: bf16[4,256,128], q1: bf16[1,256,128], q2: s32[]) -> bf16[4,256,128] {
  %q0 = bf16[4,256,128]{2,1,0:T(8,128)(2,1)} parameter(0)
  %q1 = bf16[1,256,128]{2,1,0:T(8,128)(2,1)} parameter(1)
  %q2 = s32[]{:T(128)} parameter(2)
  ROOT %put = bf16[4,256,128]{2,1,0:T(8,128)(2,1)} dynamic-update-slice(%q0, %q1, %q2)
}

%inside (r0: bf16[4,256,128], r1: s32[]) -> bf16[1,256,128] {
  %r0 = bf16[4,256,128]{2,1,0:T(8,128)(2,1)} parameter(0)
  %r1 = s32[]{:T(128)} parameter(1)
  %same = bf16[4,256,128]{2,1,0:T(8,128)(2,1)} fusion(%r0), kind=kLoop, calls=%bitcast_fusion
  ROOT %cut = bf16[1,256,128]{2,1,0:T(8,128)(2,1)} fusion(%same, %r1), kind=kLoop, calls=%one_layer
}

%body (state: (s32[], bf16[4,256,128])) -> (s32[], bf16[4,256,128]) {
  %state = (s32[]{:T(128)}, bf16[4,256,128]{2,1,0:T(8,128)(2,1)}) parameter(0)
  %i = s32[]{:T(128)S(6)} get-tuple-element(%state), index=0
  %all = bf16[4,256,128]{2,1,0:T(8,128)(2,1)} get-tuple-element(%state), index=1
  %layer = bf16[1,256,128]{2,1,0:T(8,128)(2,1)S(1)} fusion(%all, %i), kind=kLoop, calls=%one_layer, metadata={op_name="jit(step)/slice"}
  %kernel = bf16[1,256,128]{2,1,0:T(8,128)(2,1)} custom-call(%layer), custom_call_target="tpu_custom_call", backend_config={"custom_call_config": {
"body": "TUzv",
}}, metadata={op_name="jit(step)/kernel"}
  %nested = bf16[1,256,128]{2,1,0:T(8,128)(2,1)S(1)} fusion(%all, %i), kind=kLoop, calls=%inside, metadata={op_name="jit(step)/nested"}
  %next = bf16[4,256,128]{2,1,0:T(8,128)(2,1)} fusion(%all, %kernel, %i), kind=kLoop, calls=%kept, metadata={op_name="jit(step)/keep"}
  %part = f32[8]{0:T(128)S(1)} custom-call(), custom_call_target="AllocateBuffer"
  %reduced = (f32[8]{0:T(128)S(1)}, bf16[2,3]{1,0:T(8,128)(2,1)S(1)}) all-reduce(%part, %part), channel_id=1, to_apply=%add
  ROOT %out = (s32[]{:T(128)}, bf16[4,256,128]{2,1,0:T(8,128)(2,1)}) tuple(%i, %next)
}

%condition (state: (s32[], bf16[4,256,128])) -> pred[] {
  %limit = s32[]{:T(128)} constant(4)
  %state = (s32[]{:T(128)}, bf16[4,256,128]{2,1,0:T(8,128)(2,1)}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%state), index=0
  ROOT %lt = pred[]{:T(512)} compare(%i, %limit), direction=LT
}

ENTRY %main (x: (s32[], bf16[4,256,128])) -> (s32[], bf16[4,256,128]) {
  %x = (s32[]{:T(128)}, bf16[4,256,128]{2,1,0:T(8,128)(2,1)}) parameter(0)
  %odd = f32[5,100]{1,0:T(8,128)} custom-call(), custom_call_target="Draw", metadata={op_name="jit(step)/draw"}
  %ahead = (f32[5,100]{1,0:T(8,128)S(1)}, f32[5,100]{1,0:T(8,128)}, u32[]{:S(2)}) copy-start(%odd)
  %here = f32[5,100]{1,0:T(8,128)S(1)} copy-done(%ahead)
  %piece = ((f32[5,100]{1,0:T(8,128)}), f32[5,10]{1,0:T(8,128)S(1)}, s32[]{:S(2)}) slice-start(%odd), slice={[0:5], [0:10]}
  %few = f32[16]{0:T(128)S(1)} custom-call(), custom_call_target="AllocateBuffer"
  %gathered = (f32[16]{0:T(128)S(1)}, f32[64]{0:T(128)}) all-gather-start(%few), dimensions={0}
  ROOT %loop = (s32[]{:T(128)}, bf16[4,256,128]{2,1,0:T(8,128)(2,1)}) while(%x), condition=%condition, body=%body
}
"""
_STEP = types.SimpleNamespace(as_text=lambda: _TEXT)
_LAYER = 256 * 128 * 2  # bytes


def test_a_loop_runs_as_often_as_its_condition_says():
  assert counted(_STEP) == {'all-reduce': 4, 'all-gather': 1}
  arrays, totals = moved_bytes(_STEP)
  assert arrays == {
    'all-reduce': {'f32[8]': 4, 'bf16[2,3]': 4},
    'all-gather': {'f32[64]': 1},
  }
  assert totals == {'all-reduce': 4 * (8 * 4 + 6 * 2), 'all-gather': 64 * 4}


def test_attributes_of_several_lines_end_no_computation():
  program = Program(_TEXT)
  assert program.entry == 'main'
  body = {one.name: one for one in program.computations['body']}
  assert list(body)[-1] == 'out'
  assert body['kernel'].operands == ('layer',)
  assert 'jit(step)/kernel' in body['kernel'].rest


def test_what_moves_is_what_is_read_and_written_of_the_main_memory():
  found = traffic.moved(_STEP)
  assert found.pop('jit(step)/slice') == 4 * _LAYER  # into the vector memory
  assert found.pop('jit(step)/kernel') == 4 * _LAYER  # out of it
  assert found.pop('jit(step)/nested') == 4 * _LAYER
  assert found.pop('jit(step)/keep') == 4 * 2 * _LAYER  # one layer of all
  padded = 8 * 128 * 4  # of 5 x 100 numbers
  assert found.pop('jit(step)/draw') == padded
  assert found.pop('copy-start') == padded
  assert found.pop('slice-start') == 5 * 10 * 4
  assert found.pop('all-gather-start') == 128 * 4
  assert not found  # the reduction stays in the vector memory


@pytest.mark.parametrize(
  ('layout', 'size'),
  [
    ('', 4 * 5 * 100),
    ('1,0', 4 * 5 * 100),
    ('1,0:T(8,128)', 4 * 8 * 128),
    ('0,1:T(8,128)', 4 * 104 * 128),  # the first dimension along the lanes
    ('1,0:T(8,128)S(0)', 4 * 8 * 128),
    ('1,0:T(8,128)S(1)', 0),
  ],
)
def test_arrays_are_stored_in_tiles(layout, size):
  text = f'{{{layout}}}' if layout else ''
  (one,) = Program(
    f'ENTRY %main () -> f32[5,100] {{\n  ROOT %x = f32[5,100]{text} add(%y)\n}}\n'
  ).computations['main']
  assert traffic.stored(one.arrays[0]) == size
