"""Experiments: what is trained and measured, how it is worked off, and the tables and figures of it."""

from viewstream.tools.learning.cifar import CIFAR10
from viewstream.tools.learning.gpu import GPU
from viewstream.tools.learning.loaders import LOADERS
from viewstream.tools.learning.momenta import MOMENTA
from viewstream.tools.learning.tail import TAIL

EXPERIMENTS = {experiment.name: experiment for experiment in (CIFAR10, MOMENTA, TAIL, LOADERS, GPU)}
