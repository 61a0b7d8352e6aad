"""Quiet LiteRT interpreters for small networks."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import contextmanager

import numpy as np

__all__ = ["Network"]

_STDERR_LOCK = threading.Lock()


class Network:
    """A .tflite network as a function of one array.

    Calls are serialised: an interpreter owns the memory of its tensors.

    Parameters
    ----------
    content : bytes
        The .tflite file.
    threads : int
        Threads of one call.
    """

    def __init__(self, content: bytes, threads: int = 1):
        try:
            with _quiet_stderr():
                from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise ImportError("face detection needs ai-edge-litert: pip install ai-edge-litert") from error
        with _quiet_stderr():
            self._interpreter = Interpreter(model_content=content, num_threads=threads)
            self._interpreter.allocate_tensors()
            self._input = self._interpreter.get_input_details()[0]
            self._outputs = self._interpreter.get_output_details()
            self.input_shape = tuple(int(n) for n in self._input["shape"])
            # delegates make their remarks on the first call
            self._interpreter.set_tensor(self._input["index"], np.zeros(self.input_shape, np.float32))
            self._interpreter.invoke()
        self._lock = threading.Lock()

    def __call__(self, array) -> list[np.ndarray]:
        """Outputs, in the network's order, for an input of `input_shape`."""
        array = np.ascontiguousarray(array, np.float32).reshape(self.input_shape)
        with self._lock:
            self._interpreter.set_tensor(self._input["index"], array)
            self._interpreter.invoke()
            return [self._interpreter.get_tensor(output["index"]) for output in self._outputs]


@contextmanager
def _quiet_stderr():
    """Send what native code writes to file descriptor 2 nowhere.

    Python errors raised inside travel as exceptions, so none is lost.  Where
    there is no descriptor 2 (a service, some notebooks) nothing is done.
    """
    with _STDERR_LOCK:
        try:
            if sys.stderr is not None:
                sys.stderr.flush()
            saved = os.dup(2)
        except (OSError, ValueError):
            yield
            return
        try:
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), 2)
            yield
        finally:
            try:
                if sys.stderr is not None:
                    sys.stderr.flush()
            except (OSError, ValueError):
                pass
            os.dup2(saved, 2)
            os.close(saved)
