"""The plotting helpers of `going_modular`, under the name the tutorial promises."""

from going_modular import helper_functions as _helper_functions
from going_modular.helper_functions import *  # noqa: F403

__all__ = _helper_functions.__all__
