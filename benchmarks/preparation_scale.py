"""Memory of preparing long HD videos, and scaling with processes.

  python benchmarks/preparation_scale.py [--minutes 1 5 25] [--size 1280x720]
      [--processes 1 2]

Memory: videos of some lengths (a drawn head before sensor noise, 25 frames a
second, a few seconds encoded once and repeated) are prepared by the path that
all corpora take, each in a fresh process: `face_frames` into a result file, read
again chunk by chunk; and the builder `videos`, up to the finished data set, with
whole frames. The peak is that of the resident memory (Linux).

Scaling: copies of one minute of the twin, prepared by more and more processes.
The last line is one JSON object.
"""

import argparse
import json
import multiprocessing
import shutil
import sys
import tempfile
import time
from pathlib import Path

import av
import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
from mvp_jax.preparation import prepare
from mvp_jax.raw.frames import FrameSpec, face_frames, load_frames, pack_frames
from mvp_jax.synthetic.face import face_frames as drawn_faces
from mvp_jax.synthetic.spec import TwinSpec
from mvp_jax.synthetic.video import write_face_video
from mvp_jax.tasks import Task, run_tasks

RATE = 25
SPEC = FrameSpec(rate=25.0, size=224, crop='X')
LOOP_SECONDS = 8
COPIES = 4  # videos per process


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('--minutes', type=int, nargs='*', default=[1, 5, 25])
  parser.add_argument('--size', default='1280x720')
  parser.add_argument('--processes', type=int, nargs='*', default=[1, 2])
  args = parser.parse_args()
  width, height = map(int, args.size.split('x'))
  result = {'size': args.size, 'required_peak_megabytes': 1000}
  with tempfile.TemporaryDirectory() as folder:
    folder = Path(folder)
    print(f'{"":28}{"minutes":>8}{"peak MB":>9}{"stored MB":>11}{"frames/s":>10}')
    for minutes in args.minutes:
      path = folder / 'in' / 'long.mp4'
      path.parent.mkdir(exist_ok=True)
      write_long(path, minutes, width, height)
      for name, function in (('face crops', crop_faces), ('builder of videos', build)):
        peak, stored, seconds = apart(function, path, folder / 'out')
        speed = minutes * 60 * RATE / seconds
        print(f'{name:28}{minutes:8}{peak:9.0f}{stored:11.0f}{speed:10.0f}', flush=True)
        result[f'{name}, {minutes} min, peak megabytes'] = round(peak)
        shutil.rmtree(folder / 'out')
    if args.processes:
      result |= scaling(folder, args.processes)
  print(json.dumps(result))


def write_long(path, minutes, width, height):
  """Encodes some seconds and repeats the packets."""
  spec = TwinSpec(
    subjects=1,
    trials=1,
    frame_rate=RATE,
    width=width,
    height=height,
    pixel_aspect=(1, 1),
    video_seconds=LOOP_SECONDS,
  )
  with av.open(str(path), 'w') as container:
    stream = container.add_stream('libx264', rate=RATE)
    stream.width, stream.height, stream.pix_fmt = width, height, 'yuv420p'
    stream.options = {'preset': 'ultrafast', 'crf': '23', 'bf': '0', 'g': '1000'}
    packets = []
    for image in drawn_faces(spec, 1, 1):
      packets += stream.encode(av.VideoFrame.from_ndarray(image, format='yuv420p'))
    packets += stream.encode()
    kept = [(bytes(packet), packet.is_keyframe) for packet in packets]
    for k in range(minutes * 60 * RATE):
      content, key = kept[k % len(kept)]
      packet = av.Packet(content)
      packet.stream, packet.time_base = stream, stream.codec_context.time_base
      packet.pts = packet.dts = k
      packet.is_keyframe = key
      container.mux(packet)


def crop_faces(path, out):
  run_tasks(prepare_one, [Task('one', (path, SPEC), (path,))], out, 'Face', 'videos', 1)
  found = load_frames(out, 'one')
  stored = sum(len(jpeg) for jpeg in found['jpegs'])
  assert found['valid'].mean() > 0.9
  return stored


def build(path, out):
  directory = prepare(
    'videos', path.parent, out, workers=1, frame_rate=float(RATE), frame_size=224
  )
  return sum(file.stat().st_size for file in Path(directory).glob('*-video*'))


def prepare_one(path, spec):
  return pack_frames(face_frames(path, spec))


def apart(function, *args):
  """(peak megabytes, stored megabytes, seconds) of a call in a fresh process."""
  context = multiprocessing.get_context('spawn')
  ours, theirs = context.Pipe()
  process = context.Process(target=measured, args=(theirs, function, *args))
  process.start()
  found = ours.recv()
  process.join()
  return found


def measured(pipe, function, *args):
  cv2.setNumThreads(1)
  start = time.perf_counter()
  stored = function(*args)
  # Not getrusage: that begins with what the parent held when it forked.
  status = Path('/proc/self/status').read_text()
  peak = int(status.partition('VmHWM:')[2].split()[0]) / 1024
  pipe.send((peak, stored / 1e6, time.perf_counter() - start))


def scaling(folder, processes):
  path = folder / 'twin.avi'
  write_face_video(path, TwinSpec(subjects=1, trials=1), 1, 1)
  print(f'\n{"processes":>10}{"frames/s":>10}{"of linear":>11}')
  speeds = []
  for workers in processes:
    tasks = [Task(f'copy{k}', (path, SPEC), (path,)) for k in range(COPIES * workers)]
    start = time.perf_counter()
    losses = run_tasks(
      prepare_one, tasks, folder / f'of_{workers}', 'Face', 'videos', workers
    )
    assert losses == [None] * len(tasks)
    speeds.append(len(tasks) * 3000 / (time.perf_counter() - start))
    linear = speeds[-1] / speeds[0] * processes[0] / workers
    print(f'{workers:10}{speeds[-1]:10.0f}{linear:11.0%}', flush=True)
  return {
    'frames_per_second': dict(zip(processes, np.round(speeds).tolist(), strict=True))
  }


if __name__ == '__main__':
  main()
