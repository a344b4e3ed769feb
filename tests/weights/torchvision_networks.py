"""torchvision's R(2+1)D-18 and ResNet-18 in PyTorch, written for these tests.

They have torchvision's names and shapes of parameters; widths may differ.
"""

import pytest

torch = pytest.importorskip('torch', reason='PyTorch is in the test extra of 3.11')
nn = torch.nn


def random(network, *sizes, seed):
  """One with noise on parameters and on running statistics, in evaluation mode."""
  torch.manual_seed(seed)
  model = network(*sizes)
  with torch.no_grad():
    for name, x in model.state_dict().items():
      if name.endswith('running_var'):
        x.uniform_(0.5, 2)
      elif x.is_floating_point():
        x.add_(0.1 * torch.randn_like(x))
  return model.eval()


def _factored(inputs, between, outputs, stride):
  return nn.Sequential(
    nn.Conv3d(inputs, between, (1, 3, 3), (1, stride, stride), (0, 1, 1), bias=False),
    nn.BatchNorm3d(between),
    nn.ReLU(),
    nn.Conv3d(between, outputs, (3, 1, 1), (stride, 1, 1), (1, 0, 0), bias=False),
  )


class _VideoBlock(nn.Module):
  def __init__(self, inputs, outputs, stride):
    super().__init__()
    between = inputs * outputs * 3 * 3 * 3 // (inputs * 3 * 3 + 3 * outputs)
    self.conv1 = nn.Sequential(
      _factored(inputs, between, outputs, stride), nn.BatchNorm3d(outputs), nn.ReLU()
    )
    self.conv2 = nn.Sequential(
      _factored(outputs, between, outputs, 1), nn.BatchNorm3d(outputs)
    )
    self.downsample = None
    if stride != 1 or inputs != outputs:
      self.downsample = nn.Sequential(
        nn.Conv3d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm3d(outputs)
      )

  def forward(self, x):
    y = self.conv2(self.conv1(x))
    return torch.relu(y + (self.downsample(x) if self.downsample else x))


class _Block(nn.Module):
  def __init__(self, inputs, outputs, stride):
    super().__init__()
    self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
    self.bn1 = nn.BatchNorm2d(outputs)
    self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
    self.bn2 = nn.BatchNorm2d(outputs)
    self.downsample = None
    if stride != 1 or inputs != outputs:
      self.downsample = nn.Sequential(
        nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
      )

  def forward(self, x):
    y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
    return torch.relu(y + (self.downsample(x) if self.downsample else x))


def _add_layers(model, block, widths):
  inputs = widths[0]
  for i, outputs in enumerate(widths):
    layer = nn.Sequential(
      block(inputs, outputs, 2 if i else 1), block(outputs, outputs, 1)
    )
    setattr(model, f'layer{i + 1}', layer)
    inputs = outputs


class R2Plus1D18(nn.Module):
  """Pixels [B, 3, T, H, W], normalised, to the map of the last layer."""

  def __init__(self, widths=(64, 128, 256, 512), outputs=400):
    super().__init__()
    self.stem = nn.Sequential(
      nn.Conv3d(3, 45, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False),
      nn.BatchNorm3d(45),
      nn.ReLU(),
      nn.Conv3d(45, widths[0], (3, 1, 1), 1, (1, 0, 0), bias=False),
      nn.BatchNorm3d(widths[0]),
      nn.ReLU(),
    )
    _add_layers(self, _VideoBlock, widths)
    self.fc = nn.Linear(widths[-1], outputs)

  def forward(self, x):
    return self.layer4(self.layer3(self.layer2(self.layer1(self.stem(x)))))


class ResNet18(nn.Module):
  """Pictures [B, C, H, W] to the map of the last layer."""

  def __init__(self, widths=(64, 128, 256, 512), channels=3, outputs=1000):
    super().__init__()
    self.conv1 = nn.Conv2d(channels, widths[0], 7, 2, 3, bias=False)
    self.bn1 = nn.BatchNorm2d(widths[0])
    self.maxpool = nn.MaxPool2d(3, 2, 1)
    _add_layers(self, _Block, widths)
    self.fc = nn.Linear(widths[-1], outputs)

  def forward(self, x):
    x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
    return self.layer4(self.layer3(self.layer2(self.layer1(x))))
